//! The name under which the service manager keeps a listener. It tells which one it is, so that no
//! other can be taken for it after a restart.

use std::borrow::Borrow;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use data_encoding::BASE32_DNSSEC;
use miosa_injector::model::TenantId;
use ring::digest::{Context, SHA256};

use crate::socket::bind::SocketFile;

/// Eight characters: the names of all listeners come back in one variable, of which Linux takes
/// 128 KiB (`MAX_ARG_STRLEN`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListenerName(String);

impl ListenerName {
    /// The name of the listener bound to `path` as the file that stands there now, for this tenant;
    /// none: for the host itself. Another tenant's, or one whose file was removed since, has another
    /// name, though its path is the same.
    pub(crate) fn of(path: &Path, tenant: Option<&TenantId>, file: SocketFile) -> Self {
        let SocketFile { device, inode, made: (seconds, nanos) } = file;
        let tenant = tenant.map_or("", TenantId::as_str);
        let mut sum = Context::new(&SHA256);
        sum.update(path.as_os_str().as_bytes());
        // A path has no NUL, and a tenant has none either.
        sum.update(format!("\0{tenant}\0{device}\0{inode}\0{seconds}\0{nanos}").as_bytes());
        let sum = sum.finish();
        Self(BASE32_DNSSEC.encode(sum.as_ref().get(..NAME_BYTES).unwrap_or_default()))
    }
}

impl Borrow<str> for ListenerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Five bits a character.
const NAME_BYTES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_eight_characters_and_changes_with_all_that_it_stands_for() {
        let (one, two): (TenantId, TenantId) = ("t1".parse().unwrap(), "t2".parse().unwrap());
        let file = SocketFile { device: 21, inode: 4_711, made: (1, 2) };
        let path = Path::new("/run/miosa/resources/sbx-1/miosa.sock");
        let names = [
            ListenerName::of(path, Some(&one), file),
            ListenerName::of(path, Some(&two), file),
            ListenerName::of(path, None, file),
            ListenerName::of(path, Some(&one), SocketFile { inode: 4_712, ..file }),
            ListenerName::of(path, Some(&one), SocketFile { device: 22, ..file }),
            ListenerName::of(path, Some(&one), SocketFile { made: (1, 3), ..file }),
            ListenerName::of(Path::new("/run/miosa/resources/sbx-2/miosa.sock"), Some(&one), file),
        ];
        for (index, name) in names.iter().enumerate() {
            let text = name.to_string();
            assert!(text.len() == 8 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
            assert!(!names[index + 1..].contains(name), "{name}");
        }
        assert_eq!(names[0], ListenerName::of(path, Some(&one), file));
    }
}
