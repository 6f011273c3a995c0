//! The Debian packages as `make deb` leaves them: what is in them, what their scripts do to a machine, and
//! what a reader of their manual pages and a user of their completions gets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use miosa_tests::Chroot;
use miosa_tests::boot::{Package, packages};
use miosa_tests::program::binary;
use tempfile::TempDir;

#[test]
fn a_package_holds_what_it_promises_and_nothing_that_runs_as_somebody_else() {
    for package in packages() {
        let listing = output_of(Command::new("dpkg-deb").arg("--contents").arg(&package.file));
        let mut held = BTreeSet::new();
        for line in listing.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (mode, owner, path) = (words[0], words[1], words[5].trim_start_matches('.'));
            assert_eq!(owner, "root/root", "{line}");
            let expected = match path {
                _ if mode.starts_with('d') => "drwxr-xr-x",
                "/etc/miosa/control.env" => "-rw-------",
                _ if path.starts_with("/usr/bin/") => "-rwxr-xr-x",
                _ => "-rw-r--r--",
            };
            assert_eq!(mode, expected, "{line}");
            if !mode.starts_with('d') && !path.ends_with(".md") {
                held.insert(path.to_owned());
            }
        }
        let promised = PROMISED.iter().find(|(name, _)| *name == package.name).expect("a promise").1;
        let everywhere =
            ["changelog.gz", "copyright"].map(|file| format!("/usr/share/doc/{}/{file}", package.name));
        let promised: BTreeSet<String> = promised.iter().map(ToString::to_string).chain(everywhere).collect();
        assert_eq!(held, promised, "{}", package.name);
        let guides = listing.contains("/trust.md");
        assert_eq!(guides, package.name != "miosa-exec", "{}", package.name);
    }
}

#[test]
fn a_package_depends_on_what_its_program_links_and_on_what_makes_its_users() {
    for package in packages() {
        let tree = extracted(&package);
        let program = tree.path().join("usr/bin").join(&package.name);
        let said = output_of(Command::new("dpkg-deb").arg("--field").arg(&package.file).arg("Depends"));
        let depends: BTreeSet<String> = said
            .split([',', '|'])
            .filter_map(|part| part.split_whitespace().next())
            .map(str::to_owned)
            .collect();
        let mut needed = owners_of(&libraries(&program));
        if package.name != "miosa-exec" {
            assert!(!needed.is_empty(), "{} links nothing", package.name);
            needed.extend(USERS.map(str::to_owned));
        }
        assert_eq!(depends, needed, "{}", package.name);
    }
}

#[test]
fn lintian_finds_no_error_and_no_warning() {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]);
    lintian.args(packages().iter().map(|package| &package.file));
    let output = lintian.output().expect("run lintian");
    assert!(output.status.success(), "{}", text_of(&output));
}

#[test]
fn the_same_tree_gives_the_same_bytes_whoever_builds_it_and_wherever() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let build = |folder: &Path, around: &str| {
        let script = format!("{around}; exec {} \"$@\"", root().join("packaging/build.sh").display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, "build"]).arg(programs()).arg(folder);
        // What cargo tells its tests would make it build everything anew.
        let inherited = ["PATH", "HOME", "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME"];
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| inherited.iter().any(|known| name == known)));
        command.env("CARGO", env!("CARGO")).env("MIOSA_DEB_COMPRESSION", "-Zgzip -z1");
        output_of(&mut command);
    };
    build(here.path(), "umask 022");
    build(there.path(), "umask 077; export TZ=Asia/Tokyo LANG=C HOSTNAME=elsewhere USER=nobody; cd /");
    let names = |folder: &Path| -> BTreeSet<_> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let built = names(here.path());
    assert_eq!(built.len(), 3, "{built:?}");
    assert_eq!(built, names(there.path()));
    for name in built {
        let (one, other) = (fs::read(here.path().join(&name)), fs::read(there.path().join(&name)));
        assert!(one.unwrap() == other.unwrap(), "{name:?} differs");
    }
}

#[test]
fn installing_makes_users_directories_and_enabled_units() {
    let chroot = with_packages();
    for (user, home) in
        [("miosad", "/var/lib/miosa"), ("miosad-link", "/"), ("miosa-control", "/var/lib/miosa-control")]
    {
        let entry = chroot.run(&format!("getent passwd {user}"));
        assert!(entry.trim_end().ends_with(&format!(":{home}:/usr/sbin/nologin")), "{entry}");
    }
    assert_eq!(chroot.run("id -nG miosad-link").trim(), "miosad-link miosa miosa-link");
    let state = chroot.run("stat -c '%a %U %G' /var/lib/miosa /var/lib/miosa-control");
    assert_eq!(state, "700 miosad miosa\n700 miosa-control miosa-control\n");
    for unit in UNITS {
        assert_eq!(chroot.run(&format!("systemctl is-enabled {unit}")), "enabled\n", "{unit}");
    }
    for program in ["miosad", "miosa-exec", "miosa-control"] {
        let version = chroot.run(&format!("{program} --version"));
        assert_eq!(version, concat!("PROGRAM ", env!("CARGO_PKG_VERSION"), "\n").replace("PROGRAM", program));
    }
}

#[test]
fn an_upgrade_restarts_each_service_and_stops_none() {
    let chroot = Chroot::new();
    chroot.pretend_to_be_booted();
    install(&chroot, &packages());
    assert_eq!(
        chroot.orders(),
        ["start miosa-control.service", "start miosad-link.service miosad.path miosad.service",]
    );

    let later = tempfile::tempdir().unwrap();
    let version = concat!(env!("CARGO_PKG_VERSION"), "+later");
    let next: Vec<Package> =
        packages().iter().map(|package| package.as_version(version, later.path())).collect();
    install(&chroot, &next);
    // To stop one would close the sockets that the service manager keeps.
    assert_eq!(
        chroot.orders(),
        ["restart miosa-control.service", "restart miosad-link.service miosad.path miosad.service",]
    );

    let _said = chroot.run("dpkg --remove miosad miosa-exec miosa-control");
    assert_eq!(
        chroot.orders(),
        ["stop miosa-control.service", "stop miosad-link.service miosad.path miosad.service",]
    );
}

#[test]
fn an_upgrade_and_a_removal_keep_what_was_configured_and_what_must_survive() {
    let chroot = with_packages();
    let _said =
        chroot.run("echo 'log_level = \"warn\"' >>/etc/miosa/miosad.toml; echo A=1 >>/etc/miosa/control.env");
    let _said = chroot.run("echo key >/var/lib/miosa/host.key; echo key >/var/lib/miosa-control/master.key");

    let later = tempfile::tempdir().unwrap();
    let version = concat!(env!("CARGO_PKG_VERSION"), "+later");
    let next: Vec<Package> =
        packages().iter().map(|package| package.as_version(version, later.path())).collect();
    for (step, act) in [("upgrade", None), ("removal", Some("dpkg --remove miosad miosa-exec miosa-control"))]
    {
        let _said = act.map_or_else(|| install(&chroot, &next), |line| chroot.run(line));
        let kept =
            chroot.run("tail -n1 /etc/miosa/miosad.toml /etc/miosa/control.env; cat /var/lib/miosa*/*.key");
        let lines: Vec<&str> =
            kept.lines().filter(|line| ["log_level = \"warn\"", "A=1", "key"].contains(line)).collect();
        assert_eq!(lines, ["log_level = \"warn\"", "A=1", "key", "key"], "{step}");
        let mode = chroot.run("stat -c %a /etc/miosa/control.env");
        assert_eq!(mode, "600\n", "{step}");
    }
    assert!(!chroot.attempt("ls /usr/bin/miosa*").status.success(), "programs are left");
}

#[test]
fn purging_erases_every_key_says_so_and_leaves_the_users() {
    let chroot = with_packages();
    let before = chroot.run(
        "mkdir -p /run/miosa/resources/sbx /etc/credstore.encrypted /var/lib/miosa/cache
        for file in /var/lib/miosa/host.key /var/lib/miosa/cache/1 /var/lib/miosa-control/master.key \
            /etc/credstore.encrypted/miosad.host-key /run/miosa/admin.sock; do echo secret >$file; done",
    );
    assert_eq!(before, "");
    let said = chroot.run("dpkg --purge miosad miosa-exec miosa-control");
    for line in [
        "Erasing this host's key and all that was sent to it: /var/lib/miosa, /run/miosa",
        "Erasing the control plane's database and keys: /var/lib/miosa-control",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!said.contains("warning"), "{said}");
    let left = chroot.run("find / -xdev '(' -name '*miosa*' -o -name '*credstore*' ')' ! -path '/proc/*' ; find /run /etc -name '*miosa*'; true");
    // The service manager's list of what was ever enabled is emptied, the users stay as Debian advises.
    assert_eq!(
        left.lines().filter(|line| !line.ends_with("/credstore.encrypted")).collect::<Vec<_>>(),
        [""; 0],
        "{left}"
    );
    for user in ["miosad", "miosad-link", "miosa-control"] {
        let _entry = chroot.run(&format!("getent passwd {user}"));
    }
    let again = install(&chroot, &packages());
    assert!(!again.contains("warning"), "{again}");
}

#[test]
fn what_is_purged_never_leads_elsewhere() {
    let chroot = with_packages();
    let _said = chroot.run(
        "mkdir /srv/kept /srv/mounted && mount -t tmpfs tmpfs /srv/mounted
        echo 1 >/srv/kept/file && echo 2 >/srv/mounted/file
        rmdir /var/lib/miosa-control && ln -s /srv/kept /var/lib/miosa-control
        mkdir /var/lib/miosa/foreign && mount --bind /srv/mounted /var/lib/miosa/foreign",
    );
    let _refused = chroot.attempt("dpkg --purge miosad miosa-control");
    assert_eq!(chroot.run("cat /srv/kept/file /srv/mounted/file"), "1\n2\n");
}

#[test]
fn a_disk_of_its_own_for_the_state_is_emptied_and_the_purge_goes_through() {
    let chroot = with_packages();
    let said = chroot.run(
        "for folder in miosa miosa-control; do
            mount -t tmpfs tmpfs /var/lib/$folder && mkdir /var/lib/$folder/cache && echo key >/var/lib/$folder/a.key
        done
        dpkg --purge miosad miosa-control && find /var/lib/miosa /var/lib/miosa-control -mindepth 1",
    );
    assert!(!said.contains("key\n") && !said.contains("cache\n"), "{said}");
    assert!(!chroot.run("dpkg --get-selections").contains("miosa-control"), "{said}");
}

#[test]
fn man_has_nothing_to_warn_of_in_the_manual_pages() {
    for package in packages() {
        let tree = extracted(&package);
        let page = manual_page(&tree, &package.name);
        let mut man = Command::new("man");
        man.args(["--warnings", "--encoding=UTF-8", "--local-file", "--troff-device=utf8", "--ditroff"]);
        let output =
            man.arg(&page).env("LC_ALL", "C.UTF-8").env("MANROFFSEQ", "").env("MANWIDTH", "80").output();
        let output = output.expect("run man");
        assert!(output.status.success() && !output.stdout.is_empty(), "{}", text_of(&output));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", package.name);
    }
}

#[test]
fn the_page_of_the_shim_has_the_options_and_variables_of_its_help() {
    let exec = packages().into_iter().find(|package| package.name == "miosa-exec").unwrap();
    let tree = extracted(&exec);
    let page = rendered(&manual_page(&tree, "miosa-exec"));
    let help = output_of(Command::new(tree.path().join("usr/bin/miosa-exec")).arg("--help"));
    let names = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
            .filter(|word| word.starts_with("--") && word.len() > 2 || word.starts_with("MIOSA_"))
            .map(|word| word.trim_end_matches("NAME").to_owned())
            .collect()
    };
    let (on_page, in_help) = (names(&page), names(&help));
    let options = |names: &BTreeSet<String>| -> BTreeSet<String> {
        names.iter().filter(|name| name.starts_with("--")).cloned().collect()
    };
    assert!(options(&in_help).len() > 8, "{in_help:?}");
    assert_eq!(options(&on_page), options(&in_help));
    for option in
        options(&in_help).iter().filter(|option| !["--help", "--version"].contains(&option.as_str()))
    {
        let variable =
            format!("MIOSA_EXEC_{}", option.trim_start_matches('-').replace('-', "_").to_uppercase());
        let known = on_page.iter().any(|name| name.trim_end_matches('_') == variable);
        assert!(known, "{option} has no {variable}: {on_page:?}");
    }
    for variable in in_help.iter().filter(|name| name.starts_with("MIOSA_") && !name.ends_with('_')) {
        assert!(on_page.contains(variable), "{variable}");
    }
    for status in ["125", "126", "127"] {
        assert!(page.contains(status) && help.contains(status), "{status}");
    }
}

#[test]
fn each_shell_completes_what_was_begun() {
    for (name, begun, whole) in [
        ("miosad", "stat", "status"),
        ("miosa-control", "rest", "restore"),
        ("miosa-exec", "--on-c", "--on-change"),
    ] {
        let package = packages().into_iter().find(|package| package.name == name).unwrap();
        let tree = extracted(&package);
        let share = tree.path().join("usr/share");
        let bash = format!(
            "source \"$0\" && act=$(complete -p {name}) && act=${{act##*-F }} && COMP_WORDS=({name} {begun}) COMP_CWORD=1 \
             && ${{act%% *}} {name} {begun} {name} && echo \"${{COMPREPLY[@]}}\""
        );
        let zsh = format!("autoload -U compinit && compinit -D -u && source \"$0\" && print $_comps[{name}]");
        let fish = format!("source $argv[1] && complete -C '{name} {begun}'");
        let in_bash =
            shell(&["bash", "--norc", "-c", &bash], &share.join("bash-completion/completions").join(name));
        let in_zsh =
            shell(&["zsh", "-f", "-c", &zsh], &share.join(format!("zsh/vendor-completions/_{name}")));
        let in_fish = shell(
            &["fish", "--no-config", "-c", &fish],
            &share.join(format!("fish/vendor_completions.d/{name}.fish")),
        );
        assert_eq!(in_bash, format!("{whole}\n"));
        assert_eq!(in_zsh, format!("_{name}\n"));
        assert_eq!(in_fish.split('\t').next(), Some(whole), "{in_fish}");
    }
}

trait Pretence {
    /// As on a machine that systemd runs, with a `systemctl` that writes down what it is told.
    fn pretend_to_be_booted(&self);
    /// What it was told to do with units, in alphabetical order; forgets it.
    fn orders(&self) -> Vec<String>;
}

impl Pretence for Chroot {
    fn pretend_to_be_booted(&self) {
        let _said = self.run(
            "mkdir -p /run/systemd/system && cat >/usr/local/bin/systemctl <<'E' && chmod +x /usr/local/bin/systemctl
#!/bin/sh
echo \"$@\" >>/run/orders
case \"$*\" in *is-enabled*) echo enabled;; esac
E",
        );
    }

    fn orders(&self) -> Vec<String> {
        let told = self.run("cat /run/orders; rm /run/orders");
        let mut orders: Vec<String> = told
            .lines()
            .map(|line| line.split(' ').filter(|word| !word.starts_with("--")).collect::<Vec<_>>().join(" "))
            .filter(|order| !["is-", "preset", "daemon-reload"].iter().any(|start| order.starts_with(start)))
            .collect();
        orders.sort();
        orders
    }
}

fn with_packages() -> Chroot {
    let chroot = Chroot::new();
    let said = install(&chroot, &packages());
    assert!(!said.contains("warning"), "{said}");
    chroot
}

fn install(chroot: &Chroot, packages: &[Package]) -> String {
    let mut files = Vec::new();
    for package in packages {
        let file = format!("/tmp/{}.deb", package.name);
        fs::copy(&package.file, chroot.path(&file)).expect("copy a package");
        files.push(file);
    }
    let files = files.join(" ");
    chroot.run(&format!("dpkg --install {files} && rm {files}"))
}

fn extracted(package: &Package) -> TempDir {
    let tree = tempfile::tempdir().expect("a folder");
    output_of(Command::new("dpkg-deb").arg("--extract").arg(&package.file).arg(tree.path()));
    tree
}

fn manual_page(tree: &TempDir, name: &str) -> PathBuf {
    tree.path().join(format!("usr/share/man/man1/{name}.1.gz"))
}

/// As it is read, in wide lines.
fn rendered(page: &Path) -> String {
    let script = "MANWIDTH=1000 man --local-file \"$0\" | col -b";
    output_of(Command::new("/bin/bash").args(["-o", "pipefail", "-c", script]).arg(page))
}

/// The libraries that a program names; none of a static one.
fn libraries(program: &Path) -> Vec<String> {
    let dynamic = output_of(Command::new("readelf").args(["--dynamic", "--wide"]).arg(program));
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    needed.map(|line| line.split(['[', ']']).nth(1).expect("a name").to_owned()).collect()
}

/// The packages that libraries come from on this machine.
fn owners_of(libraries: &[String]) -> BTreeSet<String> {
    let owner = |library: &String| {
        let found = output_of(Command::new("dpkg-query").arg("--search").arg(format!("*/{library}")));
        found.split(':').next().expect("a package").to_owned()
    };
    libraries.iter().map(owner).collect()
}

fn shell(words: &[&str], script: &Path) -> String {
    let home = tempfile::tempdir().expect("a folder");
    output_of(Command::new(words[0]).args(&words[1..]).arg(script).env("HOME", home.path()))
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text_of(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// The folder of the programs under test.
fn programs() -> PathBuf {
    binary("miosad").parent().expect("a folder").to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}

const UNITS: [&str; 4] = ["miosad.service", "miosad-link.service", "miosad.path", "miosa-control.service"];

/// Any of these makes the users of a package.
const USERS: [&str; 3] = ["systemd", "systemd-standalone-sysusers", "systemd-sysusers"];

/// The files of each package, the guides left out.
const PROMISED: [(&str, &[&str]); 3] = [
    (
        "miosad",
        &[
            "/etc/miosa/miosad.toml",
            "/lib/systemd/system/miosad-link.service",
            "/lib/systemd/system/miosad.path",
            "/lib/systemd/system/miosad.service",
            "/usr/bin/miosad",
            "/usr/lib/sysusers.d/miosad.conf",
            "/usr/lib/tmpfiles.d/miosad.conf",
            "/usr/share/bash-completion/completions/miosad",
            "/usr/share/doc/miosad/examples/miosad.alerts.yml",
            "/usr/share/fish/vendor_completions.d/miosad.fish",
            "/usr/share/man/man1/miosad.1.gz",
            "/usr/share/zsh/vendor-completions/_miosad",
        ],
    ),
    (
        "miosa-exec",
        &[
            "/usr/bin/miosa-exec",
            "/usr/share/bash-completion/completions/miosa-exec",
            "/usr/share/fish/vendor_completions.d/miosa-exec.fish",
            "/usr/share/lintian/overrides/miosa-exec",
            "/usr/share/man/man1/miosa-exec.1.gz",
            "/usr/share/zsh/vendor-completions/_miosa-exec",
        ],
    ),
    (
        "miosa-control",
        &[
            "/etc/miosa/control.env",
            "/lib/systemd/system/miosa-control.service",
            "/usr/bin/miosa-control",
            "/usr/lib/sysusers.d/miosa-control.conf",
            "/usr/lib/tmpfiles.d/miosa-control.conf",
            "/usr/share/bash-completion/completions/miosa-control",
            "/usr/share/fish/vendor_completions.d/miosa-control.fish",
            "/usr/share/lintian/overrides/miosa-control",
            "/usr/share/man/man1/miosa-control.1.gz",
            "/usr/share/zsh/vendor-completions/_miosa-control",
        ],
    ),
];
