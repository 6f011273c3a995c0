#!/usr/bin/env bash
# The whole path on this machine, in throw-away folders: a profile and a secret, written through the
# REST API, reach an agent that runs as PID 1 of its own namespaces. Every step shows the command a
# person would type for it. Any step that is not as told ends the demo with a non-zero status.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${MIOSA_BIN_DIR:-$PWD/target/dist}
here=$PWD/tests/demo
steps=9
step=0

main() {
    prepare
    start_control
    make_keys
    enroll_host
    create_configuration
    place_sandboxes
    start_agent
    explain
    change_a_value
    survive_an_outage
}

prepare() {
    if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; else bold='' dim='' green='' red='' plain=''; fi
    for program in curl unshare; do
        command -v "$program" >/dev/null || fail "the demo uses $program, which is not here: run 'make deps'"
    done
    for program in miosa-control miosad miosa-exec; do
        [ -x "$bin/$program" ] || fail "$bin/$program is not there: run 'make build'"
    done
    work=$(mktemp -d "${TMPDIR:-/tmp}/miosa-demo.XXXXXX")
    pids=()
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap clean_up EXIT
    # Without root, a user namespace lets us set up the sandbox all the same.
    namespaces=(--mount --pid --fork --kill-child --uts --ipc --propagation private)
    [ "$(id -u)" -eq 0 ] || namespaces+=(--user --map-root-user)
    unshare "${namespaces[@]}" true 2>/dev/null || fail "this machine does not let us make namespaces (unshare)"
    url=http://127.0.0.1:$(free_port)
}

start_control() {
    next "Start the control plane, on a SQLite file of its own"
    typed "miosa-control serve --listen ${url#http://}"
    "$bin/miosa-control" serve --state-dir "$work/control" --listen "${url#http://}" >"$work/control.log" 2>&1 &
    control=$!
    pids+=("$control")
    within 10 "the control plane answers" answers "$url/api/v1/runtime-env"
    ok "it answers on $url"
}

make_keys() {
    next "Make a key for the tenant acme, and one for the platform that places work on hosts"
    typed "miosa-control key create --tenant acme"
    tenant_key=$("$bin/miosa-control" key create --tenant acme --state-dir "$work/control")
    typed "miosa-control key create --role platform"
    platform_key=$("$bin/miosa-control" key create --role platform --state-dir "$work/control")
    ok "keys ${tenant_key:0:12}… and ${platform_key:0:12}…, of which only hashes are stored"
}

enroll_host() {
    next "Enroll this host and start its two daemons: one holds the key, the other has the network"
    typed "miosa-control host create --name demo-host"
    local token
    token=$("$bin/miosa-control" host create --name demo-host --state-dir "$work/control")
    typed "miosad enroll --control $url --token ${token:0:8}…"
    miosad enroll --control "$url" --token "$token" >/dev/null
    typed "miosad serve &   miosad link &"
    start_host
    within 10 "the host is ready" host_ready
    host_id=$(miosad status --json | field host_id)
    ok "host $host_id holds a verified snapshot"
}

create_configuration() {
    next "Create the profile and the secret of the API reference, and variables in the six layers of a tenant's scopes"
    local secret='sk-ant-api03-this-is-a-demo-key-and-opens-nothing-abcd'
    typed "curl -X POST $url/api/v1/agent-runtime-profiles -d '{\"name\": \"Default app builder\", \"runtime\": \"claude-code\", …}'"
    tenant POST agent-runtime-profiles '{
        "workspace_id": "ws_123",
        "name": "Default app builder",
        "runtime": "claude-code",
        "description": "Builds apps in /workspace and exports deliverables.",
        "applies_to": { "resources": ["sandbox", "computer"] },
        "tools": ["files", "exec", "previews", "artifacts", "browser"],
        "connectors": ["refero/design-research", "anthropic/workspace-claude"],
        "env": { "ANTHROPIC_MODEL": "claude-sonnet-4.6", "MIOSA_AGENT_CWD": "/workspace" },
        "policy": { "approval": "confirm-risky", "max_child_sandboxes": 5 },
        "metadata": { "product_agent": "app-builder" },
        "is_default": true
    }' >/dev/null
    typed "curl -X POST $url/api/v1/runtime-env -d '{\"name\": \"ANTHROPIC_API_KEY\", \"value\": \"sk-ant-…\", …}'"
    tenant POST runtime-env '{
        "scope": "workspace", "workspace_id": "ws_123", "target": "sandbox",
        "name": "ANTHROPIC_API_KEY", "value": "'"$secret"'", "metadata": { "provider": "anthropic" }
    }' >"$work/secret.json"
    grep -q "$secret" "$work/secret.json" && fail "the API gave the secret back"
    local scope target
    for scope in tenant workspace project; do
        for target in all sandbox; do
            tenant POST runtime-env '{
                "scope": "'$scope'", "workspace_id": "ws_123", "project_id": "proj_7", "target": "'$target'",
                "name": "WHO_WINS", "value": "'"$scope/$target"'"
            }' "$scope" >/dev/null
            tenant POST runtime-env '{
                "scope": "'$scope'", "workspace_id": "ws_123", "project_id": "proj_7", "target": "'$target'",
                "name": "FROM_'"${scope^^}_${target^^}"'", "value": "'"$scope/$target"'"
            }' "$scope" >/dev/null
        done
    done
    ok "1 profile, 1 secret (shown as $(field preview <"$work/secret.json")), 2 variables in each of the 6 layers"
}

place_sandboxes() {
    next "Place two sandboxes on the host and start a run on each: the layers seven and eight"
    local sandbox
    for sandbox in sbx-1 sbx-2; do
        typed "curl -X POST $url/platform/v1/resources?wait=10 -d '{\"id\": \"$sandbox\", \"kind\": \"sandbox\", …}'"
        platform POST "resources?wait=10" '{
            "id": "'$sandbox'", "tenant_id": "acme", "host_id": "'"$host_id"'", "kind": "sandbox",
            "workspace_id": "ws_123", "project_id": "proj_7",
            "env": { "WHO_WINS": "resource", "FROM_RESOURCE": "resource" }
        }' >/dev/null
    done
    typed "curl -X POST $url/platform/v1/resources/sbx-1/runs?wait=10 -d '{\"instruction\": \"Build a landing page\", …}'"
    local run='{
        "instruction": "Build a landing page", "model": "claude-sonnet-4.6",
        "env": { "WHO_WINS": "run", "FROM_RUN": "run" }
    }'
    run_1=$(platform POST "resources/sbx-1/runs?wait=10" "$run" | field id)
    run_2=$(platform POST "resources/sbx-2/runs?wait=10" "$run" | field id)
    ok "the host has them: sbx-1 with $run_1, sbx-2 with $run_2"
}

start_agent() {
    next "Start the agent: miosa-exec is PID 1 of a sandbox that sees its folder read-only at /run/miosa"
    typed "unshare --pid --mount … mount --bind -o ro,nosuid,nodev,noexec RUN/resources/sbx-1 /run/miosa; exec miosa-exec"
    note "the profile's harness is claude-code; a stand-in of that name shows what it was started with"
    run_sandbox sbx-1 "$run_1" | tee "$work/agent-1.out" | sed "s/^/    /"
    agent_is "pid" "1"
    agent_is "cwd" "/workspace"
    agent_has "command" "--permission-mode dontAsk"
    agent_has "command" "-- Build a landing page"
    agent_is "WHO_WINS" "run"
    agent_is "ANTHROPIC_MODEL" "claude-sonnet-4.6"
    agent_is "ANTHROPIC_API_KEY" "sk-ant...abcd"
    local name
    for name in FROM_{TENANT,WORKSPACE,PROJECT}_{ALL,SANDBOX} FROM_RESOURCE FROM_RUN MIOSA_SNAPSHOT_VERSION; do
        grep -q "^env $name=" "$work/agent-1.out" || fail "the agent has no $name"
    done
    ok "PID 1, in /workspace, with the profile's command and all eight layers"
}

explain() {
    next "Ask the host why: each variable with the layer it comes from and what that overrode"
    typed "miosad explain sbx-1 --run $run_1"
    miosad explain sbx-1 --run "$run_1" | tee "$work/explain.out" | sed "s/^/    /"
    grep -q 'project/sandbox' "$work/explain.out" || fail "the table does not show what the run overrode"
    grep -q 'opens-nothing' "$work/explain.out" && fail "the table shows the secret"
    ok "winners and losers, and no value that is a secret"
}

change_a_value() {
    next "Change a value, and see how soon the host has it"
    typed "curl -X POST $url/api/v1/runtime-env -d '{\"scope\": \"tenant\", \"name\": \"CHANGED\", \"value\": \"…\"}'"
    local value start now
    for value in first second third; do
        tenant POST runtime-env '{"scope": "tenant", "name": "CHANGED", "value": "'"$value"'"}' >/dev/null
        start=$EPOCHREALTIME
        until "$bin/miosa-exec" --socket "$run_dir/resources/sbx-1/miosa.sock" --print env --reveal | grep -q "^CHANGED='\?$value'\?$"; do
            [ $(((${EPOCHREALTIME/./} - ${start/./}) / 1000000)) -lt 10 ] || fail "the host did not get the change within 10 s"
        done
        now=$EPOCHREALTIME
        note "$value: on the resource's socket at most $(((${now/./} - ${start/./}) / 1000)) ms after the REST answer"
    done
    ok "written, signed, sealed, sent, verified, on disk and served"
}

survive_an_outage() {
    next "Stop the control plane, restart the host's daemon, and start the second sandbox all the same"
    typed "kill $control   # miosa-control"
    kill "$control"
    wait "$control" 2>/dev/null || fail "the control plane did not end cleanly"
    answers "$url/api/v1/runtime-env" && fail "the control plane still answers"
    typed "kill $serve; miosad serve &"
    kill "$serve" "$link"
    wait "$serve" "$link" 2>/dev/null || fail "a daemon did not end cleanly"
    start_host
    within 10 "the host is ready again" host_ready
    run_sandbox sbx-2 "$run_2" >"$work/agent-1.out"
    grep -E '^(pid|cwd|env WHO_WINS|env ANTHROPIC_API_KEY)' "$work/agent-1.out" | sed "s/^/    /"
    agent_is "pid" "1"
    agent_is "WHO_WINS" "run"
    agent_is "ANTHROPIC_API_KEY" "sk-ant...abcd"
    agent_is "CHANGED" "third"
    ok "the host serves what it verified, with nobody to ask"
}

start_host() {
    miosad serve >>"$work/serve.log" 2>&1 &
    serve=$!
    miosad link >>"$work/link.log" 2>&1 &
    link=$!
    pids+=("$serve" "$link")
}

miosad() {
    run_dir=$work/run
    # exec, in the subshell of a background job, so that its pid is the daemon's own.
    local command=("$bin/miosad" "$@" --state-dir "$work/host" --runtime-dir "$run_dir")
    if [ "$BASHPID" = "$$" ]; then "${command[@]}"; else exec "${command[@]}"; fi
}

# A sandbox: its own namespaces, a root of its own, the resource's folder at /run/miosa.
run_sandbox() {
    env -i PATH=/opt/bin:/usr/local/bin:/usr/bin:/bin MIOSA_RUN_ID="$2" \
        unshare "${namespaces[@]}" -- "$here/sandbox.sh" "$work/$1" "$run_dir/resources/$1" "$bin/miosa-exec" "$here/claude" </dev/null
}

host_ready() { [ "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$work/run/admin.sock" http://host/readyz)" = 200 ]; }
answers() { [ "$(curl -s -o /dev/null -w '%{http_code}' "$1")" = 401 ]; }

# tenant METHOD PATH BODY [SCOPE]: members that the scope has no place for are left out.
tenant() {
    local body=$3
    case ${4:-} in
        tenant) body=$(sed -E 's/"(workspace|project)_id": "[^"]*", //g' <<<"$body") ;;
        workspace) body=$(sed -E 's/"project_id": "[^"]*", //' <<<"$body") ;;
    esac
    request "$tenant_key" "$1" "$url/api/v1/$2" "$body"
}

platform() { request "$platform_key" "$1" "$url/platform/v1/$2" "$3"; }

# The key goes through a file descriptor: an argument could be read by anybody on this machine.
request() {
    local status
    status=$(curl -s -o "$work/answer" -w '%{http_code}' -X "$2" -H 'Content-Type: application/json' \
        -H @<(printf 'Authorization: Bearer %s\n' "$1") --data-binary @- "$3" <<<"$4")
    case $status in 2??) cat "$work/answer" ;; *) fail "$2 ${3#"$url"} answered $status: $(cat "$work/answer")" ;; esac
}

# The first member of that name in the JSON on stdin.
field() { grep -oE "\"$1\": ?\"[^\"]*\"" | head -n 1 | sed -E 's/.*: ?"(.*)"/\1/'; }

agent_is() { grep -qxF -e "$1: $2" -e "env $1=$2" "$work/agent-1.out" || fail "the agent's $1 is not $2"; }
agent_has() { grep -F "$1: " "$work/agent-1.out" | grep -qF -e "$2" || fail "the agent's $1 does not hold $2"; }

within() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $deadline ] || fail "not in time: $what"
        sleep 0.02
    done
}

free_port() {
    local port
    for port in {7400..7499}; do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail "no free port between 7400 and 7499"
}

next() { step=$((step + 1)) && say "" "${bold}$step/$steps  $1${plain}"; }
typed() { say "  ${dim}\$ $1${plain}"; }
note() { say "  $1"; }
ok() { say "  ${green}✓${plain} $1"; }
say() { printf '%s\n' "$@"; }

fail() {
    printf '  %s✗ %s%s\n' "${red:-}" "$1" "${plain:-}" >&2
    for log in control serve link; do
        [ -s "${work:-/nonexistent}/$log.log" ] && { echo "--- the end of $log.log" && tail -n 8 "$work/$log.log"; } >&2
    done
    kill -TERM $$ 2>/dev/null
    exit 1
}

clean_up() {
    local status=$?
    trap - EXIT
    # A second Ctrl-C must not leave half of it behind.
    trap '' INT TERM
    set +e
    for pid in "${pids[@]:-}"; do [ -n "$pid" ] && kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$work"
    case $status in
        0) say "" "${bold}Done.${plain} Everything ran in $work, which is gone now." ;;
        130) say "" "Interrupted: everything is stopped, and $work is removed." ;;
        *) echo "  ${red}✗ step $step did not go as told${plain}" >&2 ;;
    esac
    exit "$status"
}

main "$@"
