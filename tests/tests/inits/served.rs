//! The daemon that answers ours: a real one, shared by the trials that run at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use miosa_tests::{LoneHost, Publisher, Trials};

/// A share of the daemon; it ends with the last one.
#[derive(Clone)]
pub struct Served(Arc<Running>);

struct Running {
    host: LoneHost,
    // After the host, so that its folder is there while it ends.
    _trials: Trials,
}

impl Served {
    pub fn get() -> Self {
        let mut current = CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let running = current.upgrade().unwrap_or_else(|| {
            let running = Arc::new(start());
            *current = Arc::downgrade(&running);
            running
        });
        Self(running)
    }

    pub fn socket(&self) -> PathBuf {
        self.0.host.path("run/resources/sbx-1/miosa.sock")
    }
}

fn start() -> Running {
    let trials = Trials::new();
    let mut publisher = Publisher::new("host_1");
    let mut host = LoneHost::enroll(&trials.path("host"), &mut publisher);
    host.start();
    let pushed = host.push(&publisher.full(1)).expect("an answer of the intake");
    assert!((200..300).contains(&pushed.status), "{pushed:?}");
    Running { host, _trials: trials }
}

static CURRENT: Mutex<Weak<Running>> = Mutex::new(Weak::new());
