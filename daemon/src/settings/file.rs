//! The configuration file: read as it stands, and each key of it put where it belongs. It knows lines
//! and names; what a key takes is said by `keys`.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key};
use super::{Settings, SettingsError};

/// The text of the file. Links are followed: who may put one there may as well write the file.
pub(super) fn read(path: &Path) -> Result<String, SettingsError> {
    let failed = |source| SettingsError::Read { path: path.to_owned(), source };
    let bytes = read_bytes(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        SettingsError::File {
            path: path.to_owned(),
            line: line_after(good),
            key: None,
            reason: "it is not text in UTF-8".to_owned(),
        }
    })
}

/// Sets what the text has. Of several mistakes, the first one in the file is told.
pub(super) fn apply(text: &str, to: &mut Settings) -> Result<(), SettingsError> {
    match parse(text, to) {
        Ok(()) => Ok(()),
        Err(Mistake { at, key, reason }) => {
            let line = line_after(text.as_bytes().get(..at).unwrap_or_default());
            let key = key.map(|key| key.escape_debug().take(MAX_KEY_CHARACTERS).collect());
            Err(SettingsError::File { path: to.file().to_owned(), line, key, reason })
        }
    }
}

/// What is wrong at which byte of the text.
struct Mistake {
    at: usize,
    key: Option<String>,
    reason: String,
}

fn parse(text: &str, to: &mut Settings) -> Result<(), Mistake> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let reason = format!("it is not TOML: {}", error.message().trim().replace('\n', ", "));
        Mistake { at, key: key_at(text, at), reason }
    })?;
    let mut mistakes = Vec::new();
    take(table.get_ref(), "", to, &mut mistakes);
    mistakes.into_iter().min_by_key(|mistake| mistake.at).map_or(Ok(()), Err)
}

fn take(table: &DeTable<'_>, section: &str, to: &mut Settings, mistakes: &mut Vec<Mistake>) {
    for (key, value) in table {
        let name = if section.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{section}.{}", key.get_ref())
        };
        let taken = match (find(&name), value.get_ref()) {
            (Some(known), value) => (known.set)(to, value),
            (None, DeValue::Table(inner)) if is_section(&name) => {
                take(inner, &name, to, mistakes);
                Ok(())
            }
            (None, _) if is_section(&name) => Err(format!("it is a section: write [{name}]")),
            (None, _) => Err(unknown(&name, section)),
        };
        if let Err(reason) = taken {
            mistakes.push(Mistake { at: start(key), key: Some(name), reason });
        }
    }
}

fn start<T>(spanned: &Spanned<T>) -> usize {
    spanned.span().start
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn is_section(name: &str) -> bool {
    keys_in(name).next().is_some()
}

/// The names of the keys of a section, without it.
fn keys_in(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| match section {
        "" => Some(key.name),
        section => key.name.strip_prefix(section)?.strip_prefix('.'),
    })
}

fn unknown(name: &str, section: &str) -> String {
    let short = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |key: &&Key| match short(key.name) == short(name) {
        true => 1.0,
        false => strsim::normalized_damerau_levenshtein(key.name, name),
    };
    let nearest = KEYS.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|key| likeness(key) >= ALIKE) {
        Some(key) => format!("there is no such key; did you mean {}?", key.name),
        None => {
            let known: Vec<_> = keys_in(section).collect();
            format!("there is no such key; known are {}", known.join(", "))
        }
    }
}

/// What stands before the equals sign of a line that is not TOML.
fn key_at(text: &str, at: usize) -> Option<String> {
    let line = line_after(text.as_bytes().get(..at).unwrap_or_default());
    let (key, _) = text.lines().nth(line.saturating_sub(1))?.split_once('=')?;
    let is_key =
        |key: &str| key.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter));
    let key = key.trim();
    (!key.is_empty() && is_key(key)).then(|| key.to_owned())
}

/// The number of the line in which the next byte stands, from 1.
fn line_after(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count().saturating_add(1)
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    // O_NONBLOCK: a FIFO would be waited for.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    let length = file.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_BYTES) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 KiB"));
    }
    Ok(bytes)
}

/// Ten times what a file with every key and its explanation takes.
const MAX_BYTES: u64 = 64 * 1024;

/// For a message.
const MAX_KEY_CHARACTERS: usize = 80;

/// From here on two names are taken for one and its misspelling.
const ALIKE: f64 = 0.75;
