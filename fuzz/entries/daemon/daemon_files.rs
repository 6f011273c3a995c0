//! The small files that the daemon starts from, and the address of the control plane in one of them.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::cli::Options;
use crate::client::Endpoint;
use crate::failure::in_one_line;
use crate::floor::Floors;
use crate::host::{HostFile, LinkFile, load_key};
use crate::layout::StateDir;
use crate::settings::Settings;
use miosa_snapshot::Digest;

/// Each file is taken or refused in one line that does not quote it, and what is taken is written as it
/// was read; an address that would carry secrets in the clear is never taken.
pub fn run(data: &[u8]) {
    let Some((&file, text)) = data.split_first() else { return };
    match file % 6 {
        0 => check_floor(text),
        1 => check_config(text),
        2 => check_host(text),
        3 => check_link(text),
        4 => check_key(text),
        _ => check_url(text),
    }
}

/// With a digest that fits: who can write the file can make that, too.
fn check_floor(line: &[u8]) {
    with_state(|state| {
        let digest = Digest::of(line);
        let mut bytes = [line, b"\n", digest.to_string().as_bytes(), b"\n"].concat();
        // The size that every copy has.
        bytes.resize(bytes.len().max(256), b' ');
        for copy in state.floors() {
            write(&copy, &bytes);
        }
        let mut floors = Floors::new(state.floors());
        let Some(mark) = floors.read().mark else { return };
        floors.write(&mark).expect("a floor");
        assert_eq!(floors.read().mark, Some(mark));
    });
}

fn check_config(text: &[u8]) {
    with_state(|state| {
        let config = state.path().join("miosad.toml");
        write(&config, text);
        let options = Options { config: Some(config), ..Options::default() };
        match Settings::load(&options) {
            Ok(settings) => {
                assert!(settings.limits.header_bytes >= 8192);
                assert!(settings.limits.resource_connections > 0 && settings.limits.operator_connections > 0);
                assert!(!settings.limits.idle.is_zero() && !settings.limits.write.is_zero());
                assert!(settings.state.path().is_absolute() && settings.runtime.path().is_absolute());
            }
            Err(error) => assert!(!in_one_line(&error).contains('\n'), "{error}"),
        }
    });
}

fn check_host(text: &[u8]) {
    with_state(|state| {
        write(&state.host(), text);
        if let Ok(host) = HostFile::load(state) {
            host.store(state).expect("a file");
            assert_eq!(HostFile::load(state).expect("what was written"), host);
        }
    });
}

fn check_link(text: &[u8]) {
    with_state(|state| {
        write(&state.link(), text);
        if let Ok(link) = LinkFile::load(state) {
            assert!(link.token.authorization().is_sensitive());
            link.store(state).expect("a file");
            assert_eq!(LinkFile::load(state).expect("what was written").control, link.control);
        }
    });
}

fn check_key(text: &[u8]) {
    with_state(|state| {
        write(&state.host_key(), text);
        fs::set_permissions(state.host_key(), fs::Permissions::from_mode(0o600)).expect("a mode");
        match load_key(state) {
            Ok(_) => assert_eq!(text.trim_ascii().len(), 44),
            Err(error) => assert!(!in_one_line(&error).contains('\n'), "{error}"),
        }
    });
}

fn check_url(text: &[u8]) {
    let Ok(url) = std::str::from_utf8(text) else { return };
    let Ok(endpoint) = Endpoint::parse(url) else { return };
    let shown = endpoint.to_string();
    assert_eq!(Endpoint::parse(&shown).expect("what is shown can be typed"), endpoint, "{url} {shown}");
    let is_loopback =
        ["http://127.", "http://[::1]", "http://localhost"].iter().any(|safe| shown.starts_with(safe));
    assert!(is_loopback || shown.starts_with("https://") || shown.starts_with("unix:/"), "{url}");
}

fn with_state(check: impl FnOnce(&StateDir)) {
    thread_local!(static DIRECTORY: OnceCell<tempfile::TempDir> = const { OnceCell::new() });
    DIRECTORY.with(|directory| {
        let directory = directory.get_or_init(|| super::host::in_memory().expect("a directory"));
        check(&StateDir::new(directory.path().to_owned()));
    });
}

#[expect(clippy::disallowed_methods, reason = "somebody else's bytes, not state")]
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file");
}
