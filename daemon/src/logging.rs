//! Where log lines go, how they look and how many there are. What is logged is decided where it
//! happens; no secret is ever a field. docs/events.md lists the names of all events.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use clap::ValueEnum;
use nix::sys::stat::fstat;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Event, Level, Subscriber, dispatcher};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What needs an operator.
    Error,
    /// What may soon need one.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// What was tried.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// Into the journal, with every field as a journal field `MIOSA_…`.
    Journald,
}

/// Sends log lines to standard error, or into the journal, from here on. A second call in one process
/// changes nothing.
pub fn start(level: LogLevel, format: LogFormat) {
    let (form, failed) = match format {
        LogFormat::Text => (Form::of_stderr(), None),
        LogFormat::Json => (Form::Json, None),
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(journal) => (Form::Journal(Box::new(journal)), None),
            Err(error) => (Form::of_stderr(), Some(error)),
        },
    };
    let (log, handle) = build(level, form, io::stderr);
    if dispatcher::set_global_default(log).is_err() {
        return;
    }
    let _set_once = LEVEL.set(handle);
    if let Some(error) = failed {
        tracing::warn!(event = "no_journal", %error, "cannot reach the journal; logging text to stderr");
    }
}

/// Changes how much is logged, for the whole process and at once. Nothing is changed before [`start`].
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // It fails only when the log is gone, and the log of the process stays.
        let _unheard = handle.reload(level.filter());
    }
}

/// A log, and the handle of how much it takes. Each place that logs asks the filter once and keeps the
/// answer until the filter is another one: what is not logged costs a load and a branch.
fn build<W>(level: LogLevel, form: Form, writer: W) -> (Dispatch, Handle)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(level.filter());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(matches!(form, Form::Terminal))
        .with_target(false)
        // Where no line can be written, as into a file on a full disk, a line that says so can't either,
        // and the attempt would end the program.
        .log_internal_errors(false);
    let lines: Box<dyn Layer<Filtered> + Send + Sync> = match form {
        Form::Terminal | Form::Plain => lines.boxed(),
        Form::Prefixed => lines.event_format(Prefixed).boxed(),
        Form::Json => lines.json().flatten_event(true).boxed(),
        Form::Journal(journal) => journal
            .with_field_prefix(Some(FIELD_PREFIX.to_owned()))
            .with_syslog_identifier(env!("CARGO_PKG_NAME").to_owned())
            .with_priority_mappings(priorities())
            .boxed(),
    };
    (Dispatch::new(tracing_subscriber::registry().with(filter).with(lines)), handle)
}

/// Where lines go and how they look, as the surroundings have it.
enum Form {
    /// Standard error, in colours.
    Terminal,
    /// Standard error, with times.
    Plain,
    /// Standard error, which a service manager passes on to a journal that knows the time.
    Prefixed,
    /// Standard error.
    Json,
    /// The journal's own socket.
    Journal(Box<tracing_journald::Layer>),
}

impl Form {
    fn of_stderr() -> Self {
        let stderr = io::stderr();
        let names_stderr = |stream: &OsStr| {
            fstat(&stderr)
                .is_ok_and(|file| stream.to_str() == Some(&format!("{}:{}", file.st_dev, file.st_ino)))
        };
        // Set by systemd; a program that was started with another standard error inherits it as well.
        match std::env::var_os("JOURNAL_STREAM") {
            Some(stream) if names_stderr(&stream) => Self::Prefixed,
            _ if stderr.is_terminal() => Self::Terminal,
            _ => Self::Plain,
        }
    }
}

/// A line as sd-daemon(3) has it: `<N>`, N being the priority, and the rest. The journal adds the time.
struct Prefixed;

impl<S, N> FormatEvent<S, N> for Prefixed
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        context.format_fields(Writer::new(&mut line), event)?;
        // A second line would have no priority, and would be another entry.
        writeln!(writer, "<{}>{}", char::from(priority(*event.metadata().level())), line.replace('\n', " "))
    }
}

fn priorities() -> PriorityMappings {
    PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    }
}

/// The digit of the same in syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => b'3',
        Level::WARN => b'4',
        Level::INFO => b'6',
        Level::DEBUG | Level::TRACE => b'7',
    }
}

impl LogLevel {
    /// Libraries are kept from the levels on which they print what passes through them.
    fn filter(self) -> Targets {
        let ours = match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        };
        Targets::new().with_target(env!("CARGO_CRATE_NAME"), ours).with_default(ours.min(LevelFilter::INFO))
    }
}

type Handle = reload::Handle<Targets, Registry>;
type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;

/// How much the log of this process takes.
static LEVEL: OnceLock<Handle> = OnceLock::new();

/// `event` becomes `MIOSA_EVENT`: no field of ours is taken for one of the journal's or of somebody else.
const FIELD_PREFIX: &str = "MIOSA";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn log(&self, level: LogLevel, form: Form) -> (Dispatch, Handle) {
            let paper = self.clone();
            build(level, form, move || paper.clone())
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn for_the_journal_a_line_has_its_priority_and_no_time() {
        let paper = Paper::default();
        dispatcher::with_default(&paper.log(LogLevel::Trace, Form::Prefixed).0, || {
            tracing::error!(event = "one", code = "bad", "cannot\ndo it");
            tracing::warn!(event = "two", "soon");
            tracing::info!(event = "three", "changed");
            tracing::debug!(event = "four", "tried");
        });
        let expected = "<3>cannot do it event=\"one\" code=\"bad\"\n<4>soon event=\"two\"\n\
                        <6>changed event=\"three\"\n<7>tried event=\"four\"\n";
        assert_eq!(paper.text(), expected);
    }

    #[test]
    fn the_level_can_be_changed_while_the_program_runs() {
        let paper = Paper::default();
        let (log, handle) = paper.log(LogLevel::Info, Form::Prefixed);
        let tell = |what: &str| {
            tracing::debug!("{what}, in detail");
            tracing::info!("{what}");
        };
        dispatcher::with_default(&log, || {
            tell("one");
            handle.reload(LogLevel::Debug.filter()).unwrap();
            tell("two");
            handle.reload(LogLevel::Warn.filter()).unwrap();
            tell("three");
        });
        assert_eq!(paper.text(), "<6>one\n<7>two, in detail\n<6>two\n");
    }

    #[test]
    fn libraries_are_kept_from_the_levels_that_print_what_passes_through_them() {
        let filter = LogLevel::Trace.filter();
        assert!(filter.would_enable("miosad::intake", &Level::TRACE));
        assert!(!filter.would_enable("hyper::proto", &Level::DEBUG));
        assert!(!LogLevel::Error.filter().would_enable("hyper::proto", &Level::INFO));
    }
}
