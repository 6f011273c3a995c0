"""Drives the control plane with the product's public SDK: sdk.py URL KEY TENANT.

Leaves a variable FROM_SDK=changed for workspace ws_123, a variable DELIVERED=x to be delivered as a file, and a
default profile for project proj_7, which the caller then looks for on a host.
"""

import asyncio
import sys

from miosa import errors
from miosa._http import AsyncTransport, SyncTransport
from miosa.resources.agent_runtime_profiles import AgentRuntimeProfiles, AsyncAgentRuntimeProfiles
from miosa.resources.runtime_env import AsyncRuntimeEnv, RuntimeEnv


def raises(kind, code, call):
    try:
        call()
    except kind as error:
        assert error.code == code, (error.code, code)
        assert error.request_id, "no request id"
        return error
    raise AssertionError(f"no {kind.__name__}")


def main(url, key, tenant):
    transport = SyncTransport(key, base_url=url, tenant=tenant, max_retries=0)
    env, profiles = RuntimeEnv(transport), AgentRuntimeProfiles(transport)

    assert env.list() == []
    made = env.set(scope="workspace", workspace_id="ws_123", target="sandbox", name="FROM_SDK", value="first")
    assert made["id"].startswith("env_") and made["scope"] == "workspace" and made["enabled"] is True
    assert "value" not in made and made["preview"] == "***" and made["tenant_id"] == tenant
    again = env.set(scope="workspace", workspaceId="ws_123", target="sandbox", name="FROM_SDK", value="changed")
    assert again["id"] == made["id"], "an upsert made another row"
    assert env.get(made["id"])["updated_at"] >= made["created_at"]
    assert [row["id"] for row in env.list(scope="workspace", workspace_id="ws_123", target="sandbox")] == [made["id"]]
    assert env.list(scope="workspace", workspace_id="ws_other") == []
    metadata = {"deliver": "file", "note": {"camelCase": [1, None]}}
    delivered = env.set(scope="tenant", name="DELIVERED", value="x", metadata=metadata)
    assert delivered["metadata"] == metadata, "metadata are the caller's own, member for member"
    error = raises(errors.ValidationError, "VALIDATION_FAILED", lambda: env.set(
        scope="tenant", name="DELIVERED", value="x", metadata={"deliver": "disk"}))
    assert [detail["field"] for detail in error.details] == ["metadata.deliver"], error.details
    gone = env.set(scope="tenant", name="GONE", value="x")
    assert env.delete(gone["id"]) is None
    raises(errors.NotFoundError, "NOT_FOUND", lambda: env.get(gone["id"]))
    error = raises(errors.ValidationError, "VALIDATION_FAILED", lambda: env.set(scope="project", name="bad", value="x"))
    assert {detail["field"] for detail in error.details} == {"project_id", "name"}, error.details

    profile = profiles.create(
        name="From the SDK", runtime="claude", project_id="proj_7", appliesTo={"sandboxes": True},
        connectors=[{"uid": "c1", "serverUrl": "https://example.test/mcp"}, "refero/design-research"],
        env={"ANTHROPIC_API_KEY": "miosa-managed:anthropic/cliniciq"}, isDefault=True,
    )
    assert profile["runtime"] == "claude-code" and profile["project_id"] == "proj_7" and profile["is_default"] is True
    assert profile["connectors"][0]["serverUrl"] == "https://example.test/mcp"
    assert profile["applies_to"] == {"sandboxes": True}
    assert profiles.update(profile["id"], description="changed")["description"] == "changed"
    assert profiles.get(profile["id"])["name"] == "From the SDK"
    assert [row["id"] for row in profiles.list(project_id="proj_7")] == [profile["id"]]
    taken = raises(errors.MiosaError, "NAME_TAKEN", lambda: profiles.create(
        name="From the SDK", runtime="codex", project_id="proj_7"))
    assert taken.status_code == 409
    other = profiles.create(name="Other", runtime="codex")
    assert profiles.delete(other["id"]) is None
    raises(errors.NotFoundError, "NOT_FOUND", lambda: profiles.get(other["id"]))

    stranger = RuntimeEnv(SyncTransport(key, base_url=url, tenant="somebody-else", max_retries=0))
    assert raises(errors.PermissionError, "FORBIDDEN", stranger.list).status_code == 403
    nobody = RuntimeEnv(SyncTransport("msk_live_" + "A" * 43, base_url=url, max_retries=0))
    assert raises(errors.AuthenticationError, "UNAUTHORIZED", nobody.list).status_code == 401

    async def asynchronously():
        transport = AsyncTransport(key, base_url=url, max_retries=0)
        assert len(await AsyncRuntimeEnv(transport).list()) == 2
        assert len(await AsyncAgentRuntimeProfiles(transport).list()) == 1

    asyncio.run(asynchronously())


if __name__ == "__main__":
    main(*sys.argv[1:])
