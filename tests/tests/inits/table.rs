//! Which init shows which behaviour. Each is written once and tried on the references first: on those that
//! show it, it must be found, and on those that do not, it must be missed, or the test could not tell.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::trial::{Outcome, Trial};

/// An init as it is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Init {
    Tini,
    /// Which signals the command's group.
    TiniGroup,
    Dumb,
    /// Which does not make the command a session.
    DumbSingle,
    Catatonit,
    /// Which signals the command's group.
    CatatonitGroup,
    /// `miosa-exec --init`.
    Ours,
}

/// Where an init runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The first process of a PID namespace.
    Pid1,
    /// A process among others.
    Ordinary,
}

/// A behaviour and who shows it.
#[derive(Clone, Copy)]
pub struct Behaviour {
    as_pid_1: Option<&'static [Init]>,
    as_ordinary: Option<&'static [Init]>,
    unjudged: &'static [Init],
}

/// A behaviour that these references show, and no others.
pub const fn shown_by(references: &'static [Init]) -> Behaviour {
    Behaviour { as_pid_1: Some(references), as_ordinary: Some(references), unjudged: &[] }
}

impl Behaviour {
    /// The same, but these show it as an ordinary process.
    pub const fn as_ordinary(mut self, references: &'static [Init]) -> Self {
        self.as_ordinary = Some(references);
        self
    }

    /// It exists as PID 1 only.
    pub const fn only_as_pid_1(mut self) -> Self {
        self.as_ordinary = None;
        self
    }

    /// It exists as an ordinary process only.
    pub const fn only_as_ordinary(mut self) -> Self {
        self.as_pid_1 = None;
        self
    }

    /// These show it or not, as it happens.
    pub const fn whatever_of(mut self, references: &'static [Init]) -> Self {
        self.unjudged = references;
        self
    }

    /// Tries it on all; ours must show it.
    pub fn holds(self, check: impl Fn(&Trial) -> Outcome + Sync) {
        let mut wrong = Vec::new();
        let all: Vec<(Init, Place, &[Init])> =
            [(Place::Pid1, self.as_pid_1), (Place::Ordinary, self.as_ordinary)]
                .into_iter()
                .filter_map(|(place, shown)| Some((place, shown?)))
                .flat_map(|(place, shown)| {
                    REFERENCES.into_iter().chain([Init::Ours]).map(move |init| (init, place, shown))
                })
                .filter(|(init, _, _)| !self.unjudged.contains(init))
                .collect();
        for some in all.chunks(AT_ONCE) {
            std::thread::scope(|scope| {
                let run = |(init, place, shown): (Init, Place, &[Init])| {
                    let expected = init.is_ours() || shown.contains(&init);
                    let check = &check;
                    scope.spawn(move || judge(init, place, expected, check))
                };
                let started: Vec<_> = some.iter().copied().map(run).collect();
                wrong.extend(started.into_iter().filter_map(|trial| trial.join().expect("a verdict")));
            });
        }
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// Tries on ours alone what no other has: as PID 1, and as an ordinary process.
pub fn ours(check: impl Fn(&Trial) -> Outcome + Sync) {
    let places = [Place::Pid1, Place::Ordinary];
    let wrong: Vec<String> =
        places.into_iter().filter_map(|place| judge(Init::Ours, place, true, &check)).collect();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is not as the table has it.
fn judge(init: Init, place: Place, expected: bool, check: &impl Fn(&Trial) -> Outcome) -> Option<String> {
    let trial = Trial::new(init, place, if expected { PATIENCE } else { PATIENCE_WITH_THE_OTHERS });
    let found =
        catch_unwind(AssertUnwindSafe(|| check(&trial))).unwrap_or_else(|_| Err("a panic".to_owned()));
    match (expected, found) {
        (true, Ok(())) | (false, Err(_)) => None,
        (true, Err(what)) => Some(format!("{init:?} as {place:?}: {what}")),
        (false, Ok(())) => {
            Some(format!("{init:?} as {place:?}: shows it, and the table says that it does not"))
        }
    }
}

impl Init {
    pub fn is_ours(self) -> bool {
        self == Self::Ours
    }

    /// The program with its options, for a reference.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Tini => &["tini", "-s", "--"],
            Self::TiniGroup => &["tini", "-s", "-g", "--"],
            Self::Dumb => &["dumb-init", "--"],
            Self::DumbSingle => &["dumb-init", "--single-child", "--"],
            Self::Catatonit => &["catatonit", "--"],
            Self::CatatonitGroup => &["catatonit", "-g", "--"],
            Self::Ours => &["miosa-exec"],
        }
    }

    /// The program's name.
    pub fn program(self) -> &'static str {
        self.words()[0]
    }
}

/// Every reference.
pub const REFERENCES: [Init; 6] =
    [Init::Tini, Init::TiniGroup, Init::Dumb, Init::DumbSingle, Init::Catatonit, Init::CatatonitGroup];

/// Every reference shows it.
pub const ALL: &[Init] = &REFERENCES;

/// No reference shows it.
pub const NONE: &[Init] = &[];

/// The references that signal the command's whole group.
pub const GROUP: &[Init] = &[Init::TiniGroup, Init::Dumb, Init::CatatonitGroup];

/// The references that signal the command alone.
pub const ALONE: &[Init] = &[Init::Tini, Init::DumbSingle, Init::Catatonit];

const AT_ONCE: usize = 7;
/// How long to wait for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Too short only makes one look as if it did not show what it is known not to show.
const PATIENCE_WITH_THE_OTHERS: Duration = Duration::from_millis(1_500);
