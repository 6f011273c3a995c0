//! An explanation as a table for people, in lines of a width: what each variable is, where it comes from,
//! and below it what lost and why. Values are cut to fit; names, layers and records never are.

use std::fmt::{self, Write as _};

use super::{Explanation, IgnoredEntry, Overridden, VariableExplained};
use crate::model::is_printable;

impl Explanation {
    /// The explanation in lines of about this many characters; ends in a newline.
    #[must_use]
    pub fn table(&self, width: usize) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail; a `?` on it keeps the lines short.
        let _infallible = self.write_table(&mut out, width);
        out
    }

    fn write_table(&self, out: &mut String, width: usize) -> fmt::Result {
        write!(out, "{} {}", self.kind, self.resource_id)?;
        if let Some(run) = &self.run_id {
            write!(out, ", run {run}")?;
        }
        writeln!(out, ", snapshot {}", self.snapshot_version)?;
        self.write_head(out, width)?;
        writeln!(out)?;
        self.write_variables(out, width)?;
        let unset: Vec<&IgnoredEntry> = self.ignored.iter().filter(|entry| !self.sets(&entry.name)).collect();
        for entry in unset {
            let IgnoredEntry { name, layer, source_id, why } = entry;
            write_wrapped(out, &format!("{name} is not set"), &format!("{layer} {source_id}: {why}"), width)?;
        }
        Ok(())
    }

    fn write_head(&self, out: &mut String, width: usize) -> fmt::Result {
        let profile = match (&self.profile.id, &self.profile.name, &self.profile.runtime) {
            (Some(id), Some(name), Some(runtime)) => format!("{} ({id}, {runtime})", plain(name)),
            _ => "none".to_owned(),
        };
        write_wrapped(out, &format!("profile  {profile}"), &self.profile.reason, width)?;
        match &self.cwd {
            Some(cwd) => writeln!(out, "cwd      {} (from {})", plain(&cwd.path), cwd.source)?,
            None => writeln!(out, "cwd      as the image has it")?,
        }
        match (&self.command.argv, &self.command.error) {
            (Some(argv), _) => {
                let source = self.command.source.as_deref().unwrap_or("?");
                writeln!(out, "command  {} (from {source})", plain(&quoted(argv)))
            }
            (None, Some(error)) => {
                let why = format!("{} ({})", plain(&error.message), error.code);
                write_wrapped(out, "command  none", &why, width)
            }
            (None, None) => writeln!(out, "command  none"),
        }
    }

    fn write_variables(&self, out: &mut String, width: usize) -> fmt::Result {
        let columns = Columns::of(&self.variables, width);
        columns.write(out, ["NAME", "VALUE", "FROM", "RECORD"])?;
        for variable in &self.variables {
            let VariableExplained { name, preview, layer, source_id, delivery, overrode } = variable;
            columns.write(out, [name, &cell(preview, columns.value), layer, source_id])?;
            if let Some(delivery) = delivery {
                writeln!(out, "  \u{2514} delivered as {}", plain(delivery))?;
            }
            for Overridden { layer, source_id, preview, why } in overrode {
                let lost = format!("  \u{2514} over {layer} {source_id} ({})", cell(preview, columns.value));
                write_wrapped(out, &lost, why, width)?;
            }
            for IgnoredEntry { layer, source_id, why, .. } in
                self.ignored.iter().filter(|entry| entry.name == *name)
            {
                write_wrapped(out, &format!("  \u{2514} not {layer} {source_id}"), why, width)?;
            }
        }
        Ok(())
    }

    fn sets(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.name == name)
    }
}

/// How wide each column is; the last one ends the line.
struct Columns {
    name: usize,
    value: usize,
    layer: usize,
}

impl Columns {
    fn of(variables: &[VariableExplained], width: usize) -> Self {
        let widest = |of: fn(&VariableExplained) -> &str, least: usize| {
            variables.iter().map(|variable| of(variable).chars().count()).fold(least, usize::max)
        };
        let name = widest(|variable| &variable.name, "NAME".len());
        let layer = widest(|variable| &variable.layer, "FROM".len());
        let record = widest(|variable| &variable.source_id, "RECORD".len());
        let value = widest(|variable| &variable.preview, "VALUE".len());
        let taken =
            [name, layer, record, GAP.len().saturating_mul(3)].into_iter().fold(0, usize::saturating_add);
        Self { name, value: value.min(width.saturating_sub(taken).max(LEAST_VALUE)), layer }
    }

    fn write(&self, out: &mut String, [name, value, layer, record]: [&str; 4]) -> fmt::Result {
        let Self { name: names, value: values, layer: layers } = *self;
        writeln!(out, "{name:<names$}{GAP}{value:<values$}{GAP}{layer:<layers$}{GAP}{record}")
    }
}

/// A head and what follows from it: on its line if both fit, else in indented lines below.
fn write_wrapped(out: &mut String, head: &str, rest: &str, width: usize) -> fmt::Result {
    let length = |text: &str| text.chars().count();
    write!(out, "{head}:")?;
    if length(head).saturating_add(length(rest)).saturating_add(2) <= width {
        return writeln!(out, " {rest}");
    }
    let mut used = width;
    for word in rest.split(' ') {
        let next = used.saturating_add(length(word)).saturating_add(1);
        if next > width {
            write!(out, "\n{INDENT}{word}")?;
            used = INDENT.len().saturating_add(length(word));
        } else {
            write!(out, " {word}")?;
            used = next;
        }
    }
    writeln!(out)
}

/// A value cut to a column, with nothing that could move the cursor.
fn cell(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= width {
        return text;
    }
    let head: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{head}\u{2026}")
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect()
}

fn quoted(argv: &[String]) -> String {
    let words = argv.iter().map(String::as_str);
    shlex::try_join(words).unwrap_or_else(|_nul| argv.join(" "))
}

const GAP: &str = "  ";
const INDENT: &str = "      ";

/// Holds a preview.
const LEAST_VALUE: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CommandExplained, ProfileExplained};

    fn explanation() -> Explanation {
        let over = |layer: &str, source_id: &str, why: &str| Overridden {
            layer: layer.to_owned(),
            source_id: source_id.to_owned(),
            preview: "sk-ant...wxyz".to_owned(),
            why: why.to_owned(),
        };
        let variable =
            |name: &str, preview: &str, layer: &str, source_id: &str, overrode| VariableExplained {
                name: name.to_owned(),
                preview: preview.to_owned(),
                layer: layer.to_owned(),
                source_id: source_id.to_owned(),
                delivery: None,
                overrode,
            };
        let why = "less specific: workspace/all is below workspace/sandbox";
        let ignored = |name: &str, layer: &str| IgnoredEntry {
            name: name.to_owned(),
            layer: layer.to_owned(),
            source_id: "env_6brhjfcckxtaersk4h5i".to_owned(),
            why: "disabled".to_owned(),
        };
        Explanation {
            resource_id: "sbx-1".to_owned(),
            kind: "sandbox".to_owned(),
            run_id: None,
            snapshot_version: 2,
            profile: ProfileExplained {
                id: None,
                name: None,
                runtime: None,
                reason: "no default applies".to_owned(),
            },
            variables: vec![
                variable(
                    "ANTHROPIC_API_KEY",
                    "sk-ant...abcd",
                    "workspace/sandbox",
                    "env_74qgnxf4dq3igf74hyfg",
                    vec![over("workspace/all", "env_p6qgkqrou6gfblnrtj2e", why)],
                ),
                variable("MIOSA_AGENT_POLICY", &"long\n".repeat(20), "platform", "platform", vec![]),
            ],
            ignored: vec![ignored("ANTHROPIC_API_KEY", "tenant/all"), ignored("GONE", "tenant/all")],
            cwd: None,
            command: CommandExplained { argv: None, source: None, error: None },
        }
    }

    #[test]
    fn the_table_at_eighty_columns() {
        let table = explanation().table(80);
        assert_eq!(
            table,
            "\
sandbox sbx-1, snapshot 2
profile  none: no default applies
cwd      as the image has it
command  none

NAME                VALUE            FROM               RECORD
ANTHROPIC_API_KEY   sk-ant...abcd    workspace/sandbox  env_74qgnxf4dq3igf74hyfg
  \u{2514} over workspace/all env_p6qgkqrou6gfblnrtj2e (sk-ant...wxyz):
      less specific: workspace/all is below workspace/sandbox
  \u{2514} not tenant/all env_6brhjfcckxtaersk4h5i: disabled
MIOSA_AGENT_POLICY  long long long\u{2026}  platform           platform
GONE is not set: tenant/all env_6brhjfcckxtaersk4h5i: disabled
"
        );
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }

    #[test]
    fn a_variable_that_is_not_in_the_environment_says_so_on_a_line_of_its_own() {
        let mut explanation = explanation();
        explanation.variables[0].delivery = Some("file".to_owned());
        let table = explanation.table(80);
        let lines: Vec<&str> = table.lines().skip_while(|line| !line.starts_with("ANTHROPIC")).collect();
        assert_eq!(lines[1], "  \u{2514} delivered as file", "{table}");
        assert_eq!(table.matches("delivered").count(), 1, "{table}");
    }

    #[test]
    fn the_table_at_a_hundred_and_twenty_columns() {
        let table = explanation().table(120);
        let why = "(sk-ant...wxyz): less specific: workspace/all is below workspace/sandbox\n";
        assert!(
            table.contains(&format!("  \u{2514} over workspace/all env_p6qgkqrou6gfblnrtj2e {why}")),
            "{table}"
        );
        assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
        assert!(table.contains("MIOSA_AGENT_POLICY  long long long"), "more of a value is shown: {table}");
    }
}
