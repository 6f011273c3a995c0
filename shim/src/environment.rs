//! The environment of the command: the layers that are merged here, on top of what the daemon merged.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use miosa_injector::model::{EnvMap, EnvName};

use crate::delivery::Deliveries;
use crate::failure::Failure;
use crate::options::{self, ImageEnv, Inherited, Options};

/// `NAME=value` entries as `execve` takes them, each name once unless it was given twice to us.
pub(crate) struct Environment(Vec<CString>);

impl Environment {
    /// The image's own environment, then what the daemon answered, then `--env`, then the socket; and for
    /// what is delivered elsewhere, where that is.
    pub(crate) fn layered(
        inherited: &Inherited,
        resolved: &EnvMap,
        options: &Options,
        elsewhere: &Deliveries,
    ) -> Result<Self, Failure> {
        let mut entries = Vec::with_capacity(
            inherited
                .len()
                .saturating_add(resolved.len())
                .saturating_add(options.env.len())
                .saturating_add(elsewhere.variables().len())
                .saturating_add(1),
        );
        let is_told_elsewhere =
            |name: &str| !elsewhere.variables().is_empty() && elsewhere.variables().contains_key(name);
        if options.image_env == ImageEnv::Keep {
            let kept = inherited.iter().filter(|(name, _)| {
                !is_replaced(name, resolved, &options.env) && !name.to_str().is_some_and(is_told_elsewhere)
            });
            for (name, value) in kept {
                entries.push(entry(name.as_bytes(), value.as_bytes())?);
            }
        }
        let resolved = resolved.iter().filter(|(name, _)| !options.env.contains_key(name));
        for (name, value) in resolved.chain(&options.env) {
            if !is_socket(name) && !elsewhere.takes(name) && !is_told_elsewhere(name.as_str()) {
                entries.push(entry(name.as_str().as_bytes(), value.expose().as_bytes())?);
            }
        }
        for (name, place) in elsewhere.variables() {
            entries.push(entry(name.as_bytes(), place.as_bytes())?);
        }
        entries.push(entry(SOCKET.as_bytes(), options.socket.text().as_bytes())?);
        Ok(Self(entries))
    }

    /// What `execve` takes.
    pub(crate) fn entries(&self) -> &[CString] {
        &self.0
    }

    /// Names and values.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|entry| {
            let entry = entry.to_bytes();
            let equals = entry.iter().position(|byte| *byte == b'=').unwrap_or(entry.len());
            let (name, value) = entry.split_at_checked(equals).unwrap_or_default();
            (name, value.get(1..).unwrap_or_default())
        })
    }

    /// The value of a variable; of one that was given twice to us, the first, as getenv(3).
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.variables().find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }
}

/// Whether a variable of the image gives way. The platform's names say what the platform said, or
/// nothing: an image must not be able to claim a workspace.
fn is_replaced(name: &OsStr, resolved: &EnvMap, above: &EnvMap) -> bool {
    if options::is_ours(name) {
        return true;
    }
    let Some(name) = name.to_str().and_then(|text| EnvName::parse(text).ok()) else {
        return false;
    };
    name.is_reserved() || resolved.contains_key(&name) || above.contains_key(&name)
}

fn is_socket(name: &EnvName) -> bool {
    name.as_str() == SOCKET
}

fn entry(name: &[u8], value: &[u8]) -> Result<CString, Failure> {
    let mut entry = Vec::with_capacity(name.len().saturating_add(value.len()).saturating_add(2));
    entry.extend_from_slice(name);
    entry.push(b'=');
    entry.extend_from_slice(value);
    CString::new(entry).map_err(|_nul| {
        let name = OsStr::from_bytes(name).display();
        Failure::own(format_args!("the variable {name} holds a NUL character"))
    })
}

const SOCKET: &str = "MIOSA_SOCKET";

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use miosa_injector::model::SecretValue;

    use super::*;
    use crate::options::typed;

    fn map(variables: &[(&str, &str)]) -> EnvMap {
        let value = |text: &str| SecretValue::new(text.to_owned()).unwrap();
        variables.iter().map(|(name, text)| (EnvName::parse(name).unwrap(), value(text))).collect()
    }

    /// The layers of these, as the command would list them.
    fn layered(image: &[(&[u8], &[u8])], resolved: &[(&str, &str)], args: &[&str]) -> Vec<String> {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let image = image.iter().map(|(name, value)| (text(name), text(value))).collect();
        let environment =
            Environment::layered(&image, &map(resolved), &typed(args), &Deliveries::default()).unwrap();
        environment.entries().iter().map(|entry| entry.to_bytes().escape_ascii().to_string()).collect()
    }

    #[test]
    fn each_layer_covers_the_ones_below_it() {
        let image: [(&[u8], &[u8]); 4] =
            [(b"A", b"image"), (b"B", b"image"), (b"C", b"image"), (b"D", b"image")];
        let resolved = [("B", "daemon"), ("C", "daemon"), ("E", "daemon")];
        assert_eq!(
            layered(&image, &resolved, &["--env", "C=typed", "--env", "F=typed"]),
            ["A=image", "D=image", "B=daemon", "E=daemon", "C=typed", "F=typed", "MIOSA_SOCKET=/s"]
        );
    }

    #[test]
    fn without_the_image_the_rest_is_unchanged() {
        let image: [(&[u8], &[u8]); 1] = [(b"A", b"image")];
        assert_eq!(layered(&image, &[("B", "daemon")], &["--clear-env"]), ["B=daemon", "MIOSA_SOCKET=/s"]);
    }

    #[test]
    fn what_the_image_brings_passes_through_byte_by_byte() {
        let image: [(&[u8], &[u8]); 4] =
            [(b"RAW", b"\xff\xfe=\n"), (b"a.b-c", b"1"), (b"TWICE", b"1"), (b"TWICE", b"2")];
        assert_eq!(
            layered(&image, &[], &[]),
            [r"RAW=\xff\xfe=\n", "a.b-c=1", "TWICE=1", "TWICE=2", "MIOSA_SOCKET=/s"]
        );
    }

    #[test]
    fn the_platforms_names_are_not_the_images_to_set_and_ours_are_not_passed_on() {
        let image: [(&[u8], &[u8]); 4] = [
            (b"MIOSA_WORKSPACE_ID", b"claimed"),
            (b"MIOSA_SOCKET", b"/claimed"),
            (b"MIOSA_EXEC_WAIT", b"1"),
            (b"MIOSA_AGENT_CWD", b"/kept"),
        ];
        let resolved = [("MIOSA_TENANT_ID", "t"), ("MIOSA_SOCKET", "/daemon")];
        assert_eq!(
            layered(&image, &resolved, &[]),
            ["MIOSA_AGENT_CWD=/kept", "MIOSA_TENANT_ID=t", "MIOSA_SOCKET=/s"]
        );
    }

    #[test]
    fn a_variable_is_found_whole() {
        let image = vec![("PATHS".into(), "no".into()), ("PATH".into(), "/a=b".into())];
        let environment =
            Environment::layered(&image, &EnvMap::new(), &typed(&[]), &Deliveries::default()).unwrap();
        assert_eq!(environment.get("PATH"), Some(b"/a=b".as_slice()));
        assert_eq!(environment.get("PAT"), None);
    }
}
