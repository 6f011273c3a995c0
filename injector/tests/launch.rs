//! What starts, and where: the order of who may say so, and what the catalog makes of a profile.

#![expect(clippy::unwrap_used, reason = "a test that panics fails, as it should")]

use std::collections::BTreeMap;

use miosa_injector::model::{
    AppliesTo, CommandSpec, Connector, EnvMap, EnvName, Profile, Resource, ResourceKind, Run, SecretValue,
    Selection,
};
use miosa_injector::protocol::ResolveResponse;
use miosa_injector::{Moving, Records, ResolveError, State, resolve};
use serde_json::json;

#[test]
fn the_runs_command_wins_over_everything_the_host_knows() {
    let world = World::new("custom").profile_env("MIOSA_AGENT_COMMAND", "from env");
    let run = |edit: fn(&mut Run)| world.clone().run(edit).command();
    assert_eq!(
        run(|run| run.command = shell("echo hi | cat")),
        said(&["/bin/sh", "-c", "echo hi | cat"], "run.command")
    );
    assert_eq!(
        run(|run| run.runtime_command = Some(CommandSpec::argv(vec!["a b".into()]).unwrap())),
        said(&["a b"], "run.runtime_command")
    );
    assert_eq!(
        run(|run| {
            run.command = shell("one");
            run.runtime_command = shell("two");
        }),
        said(&["/bin/sh", "-c", "one"], "run.command")
    );
    assert_eq!(run(|_| {}), said(&["from", "env"], "env"));
}

#[test]
fn the_environments_command_is_json_or_shell_words_and_wins_over_the_catalog() {
    let world = |value: &str| World::new("claude-code").profile_env("MIOSA_AGENT_COMMAND", value);
    assert_eq!(
        world("agent --flag 'a b' $HOME").command(),
        said(&["agent", "--flag", "a b", "$HOME"], "env")
    );
    assert_eq!(world(r#"["agent","$x"]"#).command(), said(&["agent", "$x"], "env"));
    assert_eq!(world("  ").command(), said(&["claude"], "catalog"));
    let (code, message) = world("agent 'oops").command_error();
    assert_eq!(code, "bad_command");
    assert!(
        message.contains("MIOSA_AGENT_COMMAND from profile (arp_1)") && !message.contains("oops"),
        "{message}"
    );
}

#[test]
fn the_working_directory_is_the_runs_else_the_environments_else_the_images() {
    let world = World::new("custom").profile_env("MIOSA_AGENT_CWD", "/workspace");
    assert_eq!(world.clone().run(|run| run.cwd = Some("/run".into())).resolve().cwd.as_deref(), Some("/run"));
    assert_eq!(world.clone().run(|_| {}).resolve().cwd.as_deref(), Some("/workspace"));
    assert_eq!(World::new("custom").resolve().cwd, None);
}

#[test]
fn a_resolution_without_a_command_succeeds_and_says_why() {
    let (code, message) = World::new("custom").command_error();
    assert_eq!(code, "no_command");
    assert!(message.contains("runtime custom"), "{message}");
    let (code, _) = World::new("custom").resource(|resource| resource.selection.skip = true).command_error();
    assert_eq!(code, "no_command");
}

#[test]
fn claude_code_runs_headless_with_the_instruction_last() {
    let world = World::new("claude-code")
        .tools(&["files", "exec", "browser", "previews"])
        .policy(json!({"approval": "confirm-risky", "max_child_sandboxes": 5}))
        .run(|run| {
            run.instruction = Some("--help me".into());
            run.model = Some("claude-sonnet-4.6".into());
        });
    let expected = [
        "claude",
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        "--model",
        "claude-sonnet-4.6",
        "--tools",
        "Read,Edit,Write,Glob,Grep,NotebookEdit,Bash,WebFetch,WebSearch",
        "--allowedTools",
        "Read,Edit,Write,Glob,Grep,NotebookEdit",
        "--permission-mode",
        "dontAsk",
        "--",
        "--help me",
    ];
    assert_eq!(world.command(), said(&expected, "catalog"));
}

#[test]
fn an_approval_word_becomes_the_harnesss_own_mode() {
    let mode = |approval: &str, headless: bool| {
        let world = World::new("claude-code").policy(json!({"approval": approval}));
        let (argv, _) =
            world.run(|_| {}).run(|run| run.instruction = headless.then(|| "go".into())).command();
        argv[argv.iter().position(|word| word == "--permission-mode").unwrap() + 1].clone()
    };
    assert_eq!(
        (mode("never", true), mode("auto", false)),
        ("bypassPermissions".into(), "bypassPermissions".into())
    );
    assert_eq!(
        (mode("confirm-risky", false), mode("confirm-risky", true)),
        ("acceptEdits".into(), "dontAsk".into())
    );
    assert_eq!((mode("always", false), mode("always", true)), ("default".into(), "dontAsk".into()));
}

#[test]
fn what_the_adapter_needs_in_the_environment_lies_below_everything_else() {
    let world = World::new("claude-code").policy(json!({"approval": "never"}));
    assert_eq!(world.clone().env("IS_SANDBOX").as_deref(), Some("1"));
    assert_eq!(world.clone().profile_env("IS_SANDBOX", "0").env("IS_SANDBOX").as_deref(), Some("0"));
    // It belongs to the catalog's command; another command does not get it.
    assert_eq!(world.profile_env("MIOSA_AGENT_COMMAND", "x").env("IS_SANDBOX"), None);
}

#[test]
fn an_approval_nobody_knows_is_an_error_at_launch() {
    let (code, message) = World::new("claude-code").policy(json!({"approval": "ask-mum"})).command_error();
    assert_eq!(code, "approval_unknown");
    assert!(message.contains("ask-mum") && message.contains("confirm-risky"), "{message}");
    let world = World::new("claude-code").policy(json!({"approval": "ask-mum"}));
    assert_eq!(world.clone().run(|run| run.approval_policy = Some(json!("never"))).command().1, "catalog");
    assert_eq!(
        world.run(|run| run.approval_policy = Some(json!({"mode": "x"}))).command_error().0,
        "approval_unknown"
    );
}

#[test]
fn a_promise_the_catalog_cannot_keep_yet_is_refused() {
    assert_eq!(World::new("codex").command(), said(&["codex"], "catalog"));
    let (code, message) = World::new("codex").tools(&["files"]).command_error();
    assert_eq!(code, "promise_unsupported");
    assert!(message.contains("arp_1") && message.contains("codex") && message.contains("tools"), "{message}");
    let world = World::new("claude-code").run(|run| run.provider = Some("openai".into()));
    assert_eq!(world.command_error().0, "provider_unsupported");
}

#[test]
fn a_custom_harness_learns_what_the_run_says_from_its_environment() {
    let world = World::new("custom").profile_env("MIOSA_AGENT_COMMAND", "my-agent");
    let world = world.run(|run| run.instruction = Some("build it".into()));
    assert_eq!(world.clone().env("MIOSA_AGENT_INSTRUCTION").as_deref(), Some("build it"));
    assert_eq!(world.command(), said(&["my-agent"], "env"));
}

#[test]
fn platform_variables_are_set_last_and_only_where_they_mean_something() {
    let world = World::new("claude-code").tools(&["files", "exec"]).policy(json!({"approval": "auto"}));
    assert_eq!(world.clone().env("MIOSA_AGENT_TOOLS").as_deref(), Some("files,exec"));
    assert_eq!(world.clone().env("MIOSA_AGENT_POLICY").as_deref(), Some(r#"{"approval":"auto"}"#));
    assert_eq!(world.clone().env("MIOSA_AGENT_PROFILE_ID").as_deref(), Some("arp_1"));
    assert_eq!(world.clone().env("MIOSA_SNAPSHOT_VERSION").as_deref(), Some("42"));
    assert_eq!(world.clone().env("MIOSA_RUN_ID"), None);
    assert_eq!(world.clone().run(|_| {}).env("MIOSA_RUN_ID").as_deref(), Some("run_1"));
    let skipped = world.resource(|resource| resource.selection.skip = true);
    assert_eq!(skipped.env("MIOSA_AGENT_PROFILE_ID"), None);
}

#[test]
fn a_reserved_name_from_a_foreign_publisher_takes_no_part() {
    let world =
        World::new("custom").profile_env("MIOSA_TENANT_ID", "evil").profile_env("MIOSA_RUN_ID", "evil");
    assert_eq!(world.clone().env("MIOSA_TENANT_ID").as_deref(), Some("t1"));
    assert_eq!(world.clone().env("MIOSA_RUN_ID"), None);
    let explanation = resolve(&world.state(), &world.resource.id, None).unwrap().explain(1);
    assert_eq!(explanation.ignored.len(), 2);
    assert!(explanation.ignored.iter().all(|entry| entry.why == "reserved for the platform"));
}

#[test]
fn an_environment_over_one_mebibyte_is_refused_with_the_biggest_names() {
    let mut world = World::new("custom");
    for position in 0..9 {
        world = world.profile_env(&format!("BIG_{position}"), &"v".repeat(130_000));
    }
    let error = resolve(&world.state(), &world.resource.id, None).unwrap_err();
    assert_eq!(error.code(), "env_too_large");
    let ResolveError::EnvTooLarge { total, biggest } = error else { panic!("{error}") };
    assert!(total > 1024 * 1024 && biggest.starts_with("BIG_8 (130007), BIG_7"), "{biggest}");
}

#[test]
fn a_command_from_an_encrypted_variable_is_explained_without_its_words() {
    let world = World::new("custom").resource(|resource| {
        resource.env = env(&[("MIOSA_AGENT_COMMAND", "curl -H hunter2"), ("MIOSA_AGENT_CWD", "/s3cret")]);
    });
    let explanation = resolve(&world.state(), &world.resource.id, None).unwrap().explain(1);
    let shown = serde_json::to_string(&explanation).unwrap() + &explanation.table(120);
    assert!(!shown.contains("hunter2") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn the_table_shows_winners_what_they_beat_and_what_took_no_part() {
    let world = World::new("claude-code")
        .profile_env("MODEL", "small")
        .resource(|resource| resource.env = env(&[("MODEL", "a-model-with-a-name-of-over-32-characters")]));
    let table = resolve(&world.state(), &world.resource.id, None).unwrap().explain(3).table(120);
    assert!(
        table.starts_with(
            "sandbox r1, snapshot 3\nprofile  The profile (arp_1, claude-code): default of the tenant\n"
        ),
        "{table}"
    );
    assert!(table.contains("\nMODEL "), "{table}");
    assert!(table.contains("a-mode...ters"), "{table}");
    assert!(table.contains("└ over") && table.contains("***"), "{table}");
}

#[test]
fn the_etag_content_does_not_move_with_version_or_age() {
    let world = World::new("custom");
    let resolution = resolve(&world.state(), &world.resource.id, None).unwrap();
    let answer = resolution.answer();
    let body =
        |version, stale, age| answer.body(Moving { snapshot_version: version, stale, age_seconds: age });
    let (one, other) = (body(1, false, 0), body(9_007_199_254_740_991, true, u64::MAX));
    let read: ResolveResponse = serde_json::from_slice(&other).unwrap();
    assert!(read.stale && read.age_seconds == u64::MAX);
    let [before, after] = answer.content();
    for body in [&one, &other] {
        assert!(body.starts_with(before) && body.ends_with(after));
    }
}

#[test]
fn a_runs_approval_policy_is_in_force_wherever_the_policy_is_told() {
    let world = World::new("custom").policy(json!({"approval": "never", "max_child_sandboxes": 5}));
    let told = |policy: serde_json::Value| {
        let told =
            world.clone().run(|run| run.approval_policy = Some(policy.clone())).env("MIOSA_AGENT_POLICY");
        serde_json::from_str::<serde_json::Value>(&told.unwrap()).unwrap()
    };
    assert_eq!(told(json!("always")), json!({"approval": "always", "max_child_sandboxes": 5}));
    let object = json!({"approval": "always", "max_child_sandboxes": 1});
    assert_eq!(told(object.clone()), object);
    let resolved = world.clone().run(|run| run.approval_policy = Some(json!("always"))).resolve();
    assert_eq!(resolved.profile.unwrap()["policy"]["approval"], "always");
    let skipped = world.resource(|resource| resource.selection.skip = true);
    let alone = skipped.run(|run| run.approval_policy = Some(json!("always"))).env("MIOSA_AGENT_POLICY");
    assert_eq!(alone.as_deref(), Some(r#"{"approval":"always"}"#));
}

#[test]
fn an_unknown_approval_stops_a_runs_own_command_too() {
    let world = World::new("custom").policy(json!({"approval": "ask-mum"}));
    assert_eq!(world.run(|run| run.command = shell("true")).command_error().0, "approval_unknown");
}

#[test]
fn what_a_run_says_wins_over_every_scope_but_not_over_its_own_env() {
    let world = World::new("custom").profile_env("MIOSA_AGENT_MODEL", "of the profile");
    let world = world.resource(|resource| resource.env = env(&[("MIOSA_AGENT_MODEL", "of the resource")]));
    let world = world.run(|run| run.model = Some("of the run".into()));
    assert_eq!(world.clone().env("MIOSA_AGENT_MODEL").as_deref(), Some("of the run"));
    let world = world.run(|run| run.env = env(&[("MIOSA_AGENT_MODEL", "of its env")]));
    assert_eq!(world.env("MIOSA_AGENT_MODEL").as_deref(), Some("of its env"));
}

#[test]
fn no_tools_and_unstated_tools_are_told_apart() {
    assert_eq!(World::new("custom").env("MIOSA_AGENT_TOOLS"), None);
    assert_eq!(World::new("custom").tools(&[]).env("MIOSA_AGENT_TOOLS").as_deref(), Some(""));
    let flags = |world: World| world.command().0.join(" ");
    assert_eq!(flags(World::new("claude-code")), "claude");
    assert_eq!(flags(World::new("claude-code").tools(&[])), "claude --tools ");
}

#[test]
fn saying_nothing_is_not_saying_it() {
    let world = World::new("claude-code").run(|run| {
        run.instruction = Some(String::new());
        run.model = Some(String::new());
        run.provider = Some(String::new());
        run.cwd = Some(String::new());
    });
    assert_eq!(world.command(), said(&["claude"], "catalog"));
    assert_eq!(world.resolve().cwd, None);
}

#[test]
fn a_run_on_another_resource_is_unknown_here() {
    let world = World::new("custom").run(|run| run.resource_id = "r2".parse().unwrap());
    let mut records =
        world.clone().run(|run| run.resource_id = "r1".parse().unwrap()).state().records().clone();
    let other = Resource { id: "r2".parse().unwrap(), ..world.resource.clone() };
    records.resources.insert(other.id.clone(), other.clone());
    let state = State::new(records).unwrap();
    assert!(resolve(&state, &world.resource.id, Some(&"run_1".parse().unwrap())).is_ok());
    let error = resolve(&state, &other.id, Some(&"run_1".parse().unwrap())).unwrap_err();
    assert_eq!(error.code(), "run_not_found");
}

#[test]
fn a_variable_that_linux_could_not_pass_is_named() {
    let world = World::new("custom").policy(json!({"x": "y".repeat(140_000)}));
    let error = resolve(&world.state(), &world.resource.id, None).unwrap_err();
    assert_eq!(error.code(), "env_too_large");
    assert!(error.to_string().starts_with("MIOSA_AGENT_POLICY is 1400"), "{error}");
    let world = World::new("custom")
        .run(|run| run.command = Some(CommandSpec::argv(vec!["a".into(), "b".repeat(131_072)]).unwrap()));
    assert_eq!(world.command_error().0, "argument_too_large");
}

#[test]
fn scopes_and_connectors_are_told() {
    let world = World::new("custom").resource(|resource| {
        resource.workspace_id = Some("w".parse().unwrap());
        resource.project_id = Some("p".parse().unwrap());
    });
    let mut world = world;
    world.profile.connectors = vec![
        Connector::from_json(json!("a/b")).unwrap(),
        Connector::from_json(json!({"name": "n", "server_url": "https://x"})).unwrap(),
    ];
    assert_eq!(world.env("MIOSA_WORKSPACE_ID").as_deref(), Some("w"));
    assert_eq!(world.env("MIOSA_PROJECT_ID").as_deref(), Some("p"));
    assert_eq!(world.env("MIOSA_AGENT_CONNECTORS").as_deref(), Some("a/b,n"));
}

#[test]
fn the_shims_own_variables_stand_on_top_of_the_explanation() {
    let world = World::new("custom").profile_env("A", "1").profile_env("MIOSA_AGENT_CWD", "/old");
    let mut explanation = resolve(&world.state(), &world.resource.id, None).unwrap().explain(1);
    for (name, value) in
        env(&[("A", "2"), ("B", "3"), ("MIOSA_AGENT_CWD", "/new"), ("MIOSA_AGENT_COMMAND", "x")])
    {
        explanation.add_command_line(&name, &value);
    }
    let find = |name: &str| explanation.variables.iter().find(|variable| variable.name == name).unwrap();
    assert_eq!((find("A").layer.as_str(), find("A").overrode[0].layer.as_str()), ("--env", "profile"));
    assert_eq!((find("B").layer.as_str(), find("B").overrode.len()), ("--env", 0));
    assert_eq!(explanation.cwd.as_ref().unwrap().source, "--env");
    assert_eq!(explanation.command.source.as_deref(), Some("--env"));
    assert!(explanation.variables.is_sorted_by_key(|variable| variable.name.clone()));
}

#[test]
fn a_table_cannot_move_the_cursor() {
    let mut world = World::new("custom").resource(|resource| {
        resource.env = env(&[("X", "\u{1b}[2J\u{202e}0123456789012345678901234567890123456789\n")]);
    });
    world.profile.name = "P\u{1b}[2J\nprofile forged".into();
    let table = resolve(&world.state(), &world.resource.id, None).unwrap().explain(1).table(120);
    assert!(
        !table.contains('\u{1b}') && !table.contains('\u{202e}') && !table.contains("\nprofile forged"),
        "{table}"
    );
}

#[derive(Clone)]
struct World {
    profile: Profile,
    resource: Resource,
    run: Option<Run>,
}

impl World {
    fn new(runtime: &str) -> Self {
        let profile = Profile {
            id: "arp_1".parse().unwrap(),
            tenant_id: "t1".parse().unwrap(),
            workspace_id: None,
            project_id: None,
            name: "The profile".into(),
            runtime: runtime.parse().unwrap(),
            applies_to: AppliesTo::default(),
            tools: None,
            connectors: Vec::new(),
            env: EnvMap::new(),
            policy: serde_json::Map::new(),
            is_default: true,
        };
        let resource = Resource {
            id: "r1".parse().unwrap(),
            tenant_id: "t1".parse().unwrap(),
            workspace_id: None,
            project_id: None,
            kind: ResourceKind::Sandbox,
            env: EnvMap::new(),
            selection: Selection::default(),
        };
        Self { profile, resource, run: None }
    }

    fn profile_env(mut self, name: &str, value: &str) -> Self {
        self.profile.env.extend(env(&[(name, value)]));
        self
    }

    fn tools(mut self, tools: &[&str]) -> Self {
        self.profile.tools = Some(tools.iter().map(|tool| (*tool).to_owned()).collect());
        self
    }

    fn policy(mut self, policy: serde_json::Value) -> Self {
        self.profile.policy = policy.as_object().unwrap().clone();
        self
    }

    fn resource(mut self, edit: fn(&mut Resource)) -> Self {
        edit(&mut self.resource);
        self
    }

    fn run(mut self, edit: impl Fn(&mut Run)) -> Self {
        let mut run = self.run.take().unwrap_or_else(|| Run {
            id: "run_1".parse().unwrap(),
            resource_id: self.resource.id.clone(),
            env: EnvMap::new(),
            selection: Selection::default(),
            instruction: None,
            cwd: None,
            command: None,
            runtime_command: None,
            model: None,
            provider: None,
            approval_policy: None,
        });
        edit(&mut run);
        self.run = Some(run);
        self
    }

    fn state(&self) -> State {
        State::new(Records {
            profiles: BTreeMap::from([(self.profile.id.clone(), self.profile.clone())]),
            resources: BTreeMap::from([(self.resource.id.clone(), self.resource.clone())]),
            runs: self.run.iter().map(|run| (run.id.clone(), run.clone())).collect(),
            ..Records::default()
        })
        .unwrap()
    }

    fn resolve(&self) -> ResolveResponse {
        let resolution =
            resolve(&self.state(), &self.resource.id, self.run.as_ref().map(|run| &run.id)).unwrap();
        let body = resolution.answer().body(Moving { snapshot_version: 42, stale: false, age_seconds: 0 });
        serde_json::from_slice(&body).unwrap()
    }

    fn command(&self) -> (Vec<String>, String) {
        let resolved = self.resolve();
        (resolved.command.unwrap(), resolved.command_source.unwrap())
    }

    fn command_error(&self) -> (String, String) {
        let error = self.resolve().command_error.unwrap();
        (error.code, error.message)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.resolve().env.get(&EnvName::parse(name).unwrap()).map(|value| value.expose().to_owned())
    }
}

fn env(entries: &[(&str, &str)]) -> EnvMap {
    let entry = |(name, value): &(&str, &str)| {
        (EnvName::parse(name).unwrap(), SecretValue::new((*value).to_owned()).unwrap())
    };
    entries.iter().map(entry).collect()
}

fn shell(line: &str) -> Option<CommandSpec> {
    Some(CommandSpec::shell(line.to_owned()).unwrap())
}

fn said(argv: &[&str], source: &str) -> (Vec<String>, String) {
    (argv.iter().map(|word| (*word).to_owned()).collect(), source.to_owned())
}
