//! Payloads: records by their text, so that a case can spoil one.

/// What an update puts and deletes.
#[derive(Clone, Default)]
pub(super) struct Change {
    put: [Vec<String>; 4],
    delete: [Vec<String>; 4],
}

const KINDS: [&str; 4] = ["env", "profiles", "resources", "runs"];

impl Change {
    pub(super) fn nothing() -> Self {
        Self::default()
    }

    /// A variable of a tenant.
    pub(super) fn env(self, id: &str, tenant: &str, value: &str) -> Self {
        self.put(0, variable(id, tenant, value))
    }

    pub(super) fn profile(self, id: &str, tenant: &str) -> Self {
        self.put(1, profile(id, tenant))
    }

    pub(super) fn resource(self, id: &str, tenant: &str) -> Self {
        self.put(2, resource(id, tenant))
    }

    pub(super) fn run(self, id: &str, resource: &str) -> Self {
        self.put(3, run(id, resource))
    }

    /// Deletes a record: `env`, `profiles`, `resources` or `runs`, and its id.
    pub(super) fn without(mut self, kind: &str, id: &str) -> Self {
        let place = KINDS.iter().position(|known| *known == kind).expect("a kind of record");
        self.delete[place].push(format!("\"{id}\""));
        self
    }

    pub(super) fn text(&self) -> String {
        let lists = |lists: &[Vec<String>; 4]| {
            let member = |(kind, list): (&&str, &Vec<String>)| format!(r#""{kind}":[{}]"#, list.join(","));
            KINDS.iter().zip(lists).map(member).collect::<Vec<_>>().join(",")
        };
        format!(r#"{{"put":{{{}}},"delete":{{{}}}}}"#, lists(&self.put), lists(&self.delete))
    }

    fn put(mut self, place: usize, record: String) -> Self {
        self.put[place].push(record);
        self
    }
}

/// The state of most cases: one variable of the tenant acme.
pub(super) fn one() -> Change {
    Change::nothing().env("env_1", "acme", "one")
}

/// The same with another value.
pub(super) fn valued(value: &str) -> Change {
    Change::nothing().env("env_1", "acme", value)
}

/// One record of each kind.
pub(super) fn of_each() -> Change {
    one().profile("arp_1", "acme").resource("sbx-1", "acme").run("run_1", "sbx-1")
}

fn variable(id: &str, tenant: &str, value: &str) -> String {
    format!(
        r#"{{"id":"{id}","tenant_id":"{tenant}","scope":"tenant","target":"all","name":"GREETING","value":"{value}","enabled":true}}"#
    )
}

fn profile(id: &str, tenant: &str) -> String {
    [
        format!(r#"{{"id":"{id}","tenant_id":"{tenant}","workspace_id":null,"project_id":null,"#),
        r#""name":"Builder","runtime":"claude-code","applies_to":["sandbox"],"tools":["files"],"#.to_owned(),
        r#""connectors":["refero"],"env":{"A":"1"},"policy":{"approval":"never"},"is_default":true}"#
            .to_owned(),
    ]
    .concat()
}

fn resource(id: &str, tenant: &str) -> String {
    [
        format!(r#"{{"id":"{id}","tenant_id":"{tenant}","workspace_id":null,"project_id":null,"#),
        r#""kind":"sandbox","env":{"B":"2"},"selection":{"skip":false,"profile_id":null}}"#.to_owned(),
    ]
    .concat()
}

fn run(id: &str, resource: &str) -> String {
    [
        format!(r#"{{"id":"{id}","resource_id":"{resource}","env":{{"C":"3"}},"#),
        r#""selection":{"skip":false,"profile_id":null},"instruction":null,"cwd":null,"command":null,"#
            .to_owned(),
        r#""runtime_command":null,"model":null,"provider":null,"approval_policy":null}"#.to_owned(),
    ]
    .concat()
}
