//! What a reload promises, with real files and the kernel's real watch. Time is skipped where everything
//! waits.

use std::fs;
use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::cli::Options;

/// What a process was told, in words.
struct Recorder(mpsc::Sender<String>);

impl Recorder {
    fn hear(&self, word: String) {
        // Who hears no more needs no more.
        let _heard = self.0.try_send(word);
    }
}

impl Reloadable for Recorder {
    fn apply(&mut self, settings: &Settings) {
        self.hear(format!("idle {}", settings.limits.idle.as_secs()));
    }

    fn note(&mut self, standing: Standing<'_>) {
        self.hear(match standing {
            Standing::InForce { but, .. } => format!("in force but {but:?}"),
            Standing::Refused { error, is_news } => format!("refused {is_news} {:?}", error.parts().1),
        });
    }

    async fn look_again(&mut self) {}

    fn in_short(&self) -> String {
        String::new()
    }
}

/// A process that watches a file.
struct Running {
    words: mpsc::Receiver<String>,
    _task: JoinSet<()>,
}

impl Running {
    fn with(settings: Settings) -> Self {
        let (sender, words) = mpsc::channel(1_000);
        let reload = Reload::of(&settings).unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move { match reload.run(&mut Recorder(sender)).await {} });
        Self { words, _task: task }
    }

    /// Skips what comes before.
    async fn hears(&mut self, word: &str) {
        while self.words.recv().await.unwrap() != word {}
    }
}

fn named(file: PathBuf) -> Settings {
    Settings::load(&Options { config: Some(file), ..Options::default() }).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_changes_nothing_and_what_is_mended_holds() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("miosad.toml");
    write(&file, "[limits]\nidle_seconds = 5\n");
    let mut running = Running::with(named(file.clone()));
    running.hears("in force but []").await;
    write(&file, "[limits]\nidle_seconds = 0\n");
    running.hears("refused true Some(2)").await;
    write(&file, "log_format = \"json\"\n[limits]\nidle_seconds = 6\n");
    running.hears("idle 6").await;
    running.hears("in force but [\"log_format\"]").await;
    fs::remove_file(&file).unwrap();
    running.hears("refused true None").await;
    write(&file, "[limits]\nidle_seconds = 6\n");
    running.hears("idle 6").await;
    running.hears("in force but []").await;
}

#[tokio::test(start_paused = true)]
async fn the_default_file_may_come_and_go_and_its_directory_too() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("etc");
    let file = folder.join("miosad.toml");
    let mut running = Running::with(Settings::of_default_file(&file).unwrap());
    running.hears("in force but []").await;
    for idle in [7, 8] {
        fs::create_dir(&folder).unwrap();
        write(&file, &format!("limits.idle_seconds = {idle}"));
        running.hears(&format!("idle {idle}")).await;
        fs::remove_file(&file).unwrap();
        running.hears("idle 10").await;
        fs::remove_dir(&folder).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn links_are_followed_wherever_they_lead() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // As a ConfigMap is mounted, and once more behind a link.
    for (folder, idle) in [("one", 5), ("two", 6), ("three", 7)] {
        fs::create_dir(path(folder)).unwrap();
        write(&path(folder).join("miosad.toml"), &format!("limits.idle_seconds = {idle}"));
    }
    let point = |target: &str| {
        std::os::unix::fs::symlink(target, path(".data")).unwrap();
        fs::rename(path(".data"), path("data")).unwrap();
    };
    point("one");
    fs::create_dir(path("etc")).unwrap();
    let file = path("etc").join("miosad.toml");
    std::os::unix::fs::symlink("../data/miosad.toml", &file).unwrap();
    let mut running = Running::with(named(file));
    running.hears("in force but []").await;
    for (target, idle) in [("two", 6), ("three", 7), ("one", 5)] {
        point(target);
        running.hears(&format!("idle {idle}")).await;
    }
    write(&path("one").join("miosad.toml"), "limits.idle_seconds = 9");
    running.hears("idle 9").await;
}

#[tokio::test(start_paused = true)]
async fn the_same_mistake_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("miosad.toml");
    write(&file, "");
    let mut running = Running::with(named(file.clone()));
    running.hears("in force but []").await;
    write(&file, "x = 1");
    running.hears("refused true Some(1)").await;
    write(&file, "x = 1 # again");
    running.hears("refused false Some(1)").await;
    write(&file, "\nx = 1");
    running.hears("refused true Some(2)").await;
}

#[test]
fn reading_is_no_news_and_replacing_is() {
    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, EventKind, ModifyKind, RenameMode};
    let deserves = |kind| watch::deserves_a_look(&notify::Event::new(kind));
    assert!(deserves(EventKind::Access(AccessKind::Close(AccessMode::Write))));
    assert!(deserves(EventKind::Modify(ModifyKind::Name(RenameMode::To))));
    assert!(deserves(EventKind::Create(CreateKind::File)));
    assert!(!deserves(EventKind::Access(AccessKind::Open(AccessMode::Any))));
    assert!(!deserves(EventKind::Access(AccessKind::Close(AccessMode::Read))));
    assert!(!deserves(EventKind::Modify(ModifyKind::Data(DataChange::Any))));
}

#[expect(clippy::disallowed_methods, reason = "a test's own file, not state")]
fn write(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
}
