//! What the settings promise, key by key.

use super::*;

fn parse(text: &str) -> Result<Settings, SettingsError> {
    let options = Options { config: Some("m.toml".into()), ..Options::default() };
    let mut settings = Settings::default_from(Origin::of(&options));
    file::apply(text, &mut settings).map(|()| settings)
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// For every key a value that is not its default.
const OTHERS: &[(&str, &str)] = &[
    ("state_dir", "\"/s\""),
    ("runtime_dir", "\"/r\""),
    ("log_level", "\"debug\""),
    ("log_format", "\"json\""),
    ("limits.resource_connections", "1"),
    ("limits.operator_connections", "2"),
    ("limits.header_bytes", "9000"),
    ("limits.idle_seconds", "3"),
    ("limits.write_seconds", "4"),
    ("link.connect_seconds", "5"),
    ("link.answer_seconds", "6"),
    ("link.silence_seconds", "7"),
    ("link.line_seconds", "8"),
    ("link.retry_seconds", "9"),
    ("access_log.enabled", "false"),
    ("access_log.megabytes", "10"),
    ("access_log.flush_seconds", "11"),
];

#[test]
fn every_setting_has_a_key_and_every_key_sets_one_setting() {
    let defaults = parse("").unwrap();
    assert_eq!(OTHERS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names());
    for (name, value) in OTHERS {
        let changes = defaults.changes(&parse(&format!("{name} = {value}")).unwrap());
        assert_eq!([changes.at_once, changes.after_restart].concat(), [*name]);
    }
    // A new field does not compile here before it is counted.
    let Settings { state: _, runtime: _, log_level: _, log_format: _, limits, link, access_log, origin: _ } =
        defaults;
    let Limits { resource_connections: _, operator_connections: _, header_bytes: _, idle: _, write: _ } =
        limits;
    let LinkPatience { connect: _, answer: _, silence: _, line: _, retry: _ } = link;
    let AccessLogSettings { enabled: _, megabytes: _, flush: _ } = access_log;
    assert_eq!(KEYS.len(), 4 + 5 + 5 + 3);
}

#[test]
fn a_mistake_is_told_with_file_line_key_and_what_would_be_right() {
    let seconds = "it takes whole seconds from 1 to 3600";
    let cases = [
        ("[limits]\nwrite_seconds = 0", "line 2, key limits.write_seconds", format!("{seconds}, not 0")),
        ("link.line_seconds = -1", "line 1, key link.line_seconds", format!("{seconds}, not -1")),
        (
            "\n[limits]\n\nidle_seconds = 99999999999999999999",
            "line 4, key limits.idle_seconds",
            format!("{seconds}, not 99999999999999999999"),
        ),
        (
            "[limits]\nidle_seconds = \"soon\"\n",
            "line 2, key limits.idle_seconds",
            format!("{seconds}, and this text is not"),
        ),
        (
            "[limits]\nidle_seconds = 1.5\n",
            "line 2, key limits.idle_seconds",
            format!("{seconds}, not a fraction"),
        ),
        (
            "[limits]\nresource_connections = 100000",
            "line 2, key limits.resource_connections",
            "it takes a whole number from 1 to 65536, not 100000".to_owned(),
        ),
        (
            "[limits]\nheader_bytes = 100",
            "line 2, key limits.header_bytes",
            "it takes a whole number from 8192 to 1048576, not 100".to_owned(),
        ),
        (
            "log_format = \"xml\"",
            "line 1, key log_format",
            "it takes one of \"text\", \"json\", \"journald\", and this text is not".to_owned(),
        ),
        (
            "log_level = [\"info\"]",
            "line 1, key log_level",
            "it takes one of \"error\", \"warn\", \"info\", \"debug\", \"trace\", not a list".to_owned(),
        ),
        (
            "state_dir = \"state\"",
            "line 1, key state_dir",
            "it takes an absolute path in quotes, and this text is not".to_owned(),
        ),
        (
            "# limits\n[limits]\nidle_secondz = 3",
            "line 3, key limits.idle_secondz",
            "there is no such key; did you mean limits.idle_seconds?".to_owned(),
        ),
        (
            "log_level = \"warn\"\n\nlog_levl = \"info\"\n",
            "line 3, key log_levl",
            "there is no such key; did you mean log_level?".to_owned(),
        ),
        (
            "[limits]\nretry_seconds = 3",
            "line 2, key limits.retry_seconds",
            "there is no such key; did you mean link.retry_seconds?".to_owned(),
        ),
        (
            "[link]\ncolour = 3",
            "line 2, key link.colour",
            "there is no such key; known are connect_seconds, answer_seconds, silence_seconds, line_seconds, retry_seconds"
                .to_owned(),
        ),
        ("limits = 3", "line 1, key limits", "it is a section: write [limits]".to_owned()),
        ("[[link]]", "line 1, key link", "it is a section: write [link]".to_owned()),
        (
            "[limits.idle_seconds]\nx = 1",
            "line 1, key limits.idle_seconds",
            format!("{seconds}, not a section"),
        ),
    ];
    for (text, place, reason) in cases {
        assert_eq!(refused(text), format!("cannot use m.toml {place}: {reason}"));
    }
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let error = refused("[limits]\nidle_seconds = = 3\n");
    assert!(error.starts_with("cannot use m.toml line 2, key idle_seconds: it is not TOML: "), "{error}");
    let error = refused("log_level = \"warn\"\nlog_level = \"info\"\n");
    assert!(error.starts_with("cannot use m.toml line 2, key log_level: it is not TOML: "), "{error}");
    let error = refused("\n\n}{");
    assert!(error.starts_with("cannot use m.toml line 3: it is not TOML: "), "{error}");
}

#[test]
fn a_message_is_one_line_and_repeats_no_value() {
    let secret = "sk-live-secret";
    for text in [
        format!("log_level = \"{secret}\""),
        format!("state_dir = \"{secret}\""),
        format!("[limits]\nidle_seconds = \"{secret}\""),
        format!("token = \"{secret}\""),
    ] {
        let error = refused(&text);
        assert!(!error.contains(secret) && !error.contains('\n'), "{error}");
    }
    let error = refused(&format!("\"a\\nb{}\" = 1", "x".repeat(1_000)));
    assert!(!error.contains('\n') && error.len() < 1_000, "{error}");
}

#[test]
fn of_several_mistakes_the_first_is_told() {
    let error = refused("zzz = 1\n[link]\nanswer_seconds = 0\n[limits]\nidle_seconds = 0\n");
    assert!(error.starts_with("cannot use m.toml line 1, key zzz: "), "{error}");
}

#[test]
fn what_only_a_restart_changes_stays_and_the_rest_is_taken() {
    let running = parse("state_dir = \"/one\"").unwrap();
    let next =
        parse("state_dir = \"/two\"\nlog_format = \"json\"\nlog_level = \"warn\"\nlink.line_seconds = 9")
            .unwrap();
    let changes = running.changes(&next);
    assert_eq!(changes.at_once, ["log_level", "link.line_seconds"]);
    assert_eq!(changes.after_restart, ["state_dir", "log_format"]);
    let taken = next.less_what_takes_a_restart(&running);
    assert_eq!(running.changes(&taken), Changes { at_once: changes.at_once, after_restart: vec![] });
}

#[test]
fn the_command_line_wins_over_the_file_and_the_file_over_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let config = write(&directory, "state_dir = \"/file\"\nruntime_dir = \"/file\"\nlog_level = \"debug\"");
    let options = Options { state_dir: Some("/flag".into()), config: Some(config), ..Options::default() };
    let settings = Settings::load(&options).unwrap();
    assert_eq!(settings.state.path(), Path::new("/flag"));
    assert_eq!(settings.runtime.path(), Path::new("/file"));
    assert_eq!((settings.log_level, settings.log_format), (LogLevel::Debug, LogFormat::Text));
    assert!(settings.has_file());
}

#[test]
fn a_file_that_was_named_has_to_be_there_and_be_a_text_of_a_sensible_size() {
    let directory = tempfile::tempdir().unwrap();
    let load = |path: &Path| {
        Settings::load(&Options { config: Some(path.to_owned()), ..Options::default() })
            .map_err(|error| crate::failure::in_one_line(&error))
    };
    let missing = directory.path().join("none.toml");
    assert!(load(&missing).unwrap_err().starts_with("cannot read the configuration"), "{missing:?}");
    assert!(load(directory.path()).unwrap_err().ends_with("it is no regular file"));
    assert!(load(Path::new("/dev/zero")).unwrap_err().ends_with("it is no regular file"));
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(load(&fifo).unwrap_err().ends_with("it is no regular file"));
    let path = write(&directory, &"# so long\n".repeat(7_000));
    assert!(load(&path).unwrap_err().ends_with("it is larger than 64 KiB"));
    write_bytes(&path, b"\n# \xff");
    assert!(load(&path).unwrap_err().ends_with("line 2: it is not text in UTF-8"));
}

/// What an operator finds in /etc/miosa: everything as a comment, so that nothing is set.
#[test]
fn the_example_has_every_key_with_its_default() {
    let example = include_str!("../../../systemd/miosad.toml");
    let defaults = parse("").unwrap();
    assert_eq!(defaults.changes(&parse(example).unwrap()), Changes::default());
    // A key is commented out without a space, so that it can be told from words.
    let is_key = |rest: &str| rest.starts_with(|letter: char| letter.is_ascii_lowercase());
    let uncommented: Vec<_> = example
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_key(rest)).unwrap_or(line))
        .collect();
    let all = uncommented.join("\n");
    assert_eq!(defaults.changes(&parse(&all).unwrap()), Changes::default());
    let mut section = String::new();
    let mut found = Vec::new();
    for line in uncommented {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            found.push(format!("{section}{key}"));
        }
    }
    assert_eq!(found, names());
}

#[test]
fn the_documentation_has_every_key_with_its_default() {
    let documentation = include_str!("../../../docs/configuration.md");
    let defaults = parse("").unwrap();
    for key in KEYS {
        let row = documentation.lines().find(|line| line.starts_with(&format!("| `{}` |", key.name)));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md lacks {}", key.name));
        assert!(row.contains(&format!("| `{}` |", (key.text)(&defaults))), "{row}");
        let needs_restart = matches!(key.holds, Holds::AfterRestart(_));
        assert_eq!(row.ends_with("| restart |"), needs_restart, "{row}");
    }
}

fn names() -> Vec<&'static str> {
    KEYS.iter().map(|key| key.name).collect()
}

fn write(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("miosad.toml");
    write_bytes(&path, text.as_bytes());
    path
}

#[expect(clippy::disallowed_methods, reason = "a test's own file, not state")]
fn write_bytes(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
