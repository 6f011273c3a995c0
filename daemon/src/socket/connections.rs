//! The open connections of one socket. They are no tasks of their own: the socket's task looks after one
//! of them at a time, which is a piece of its work, and a piece is bounded by the connection's pace.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::bells::{Bells, Number};
use super::places::Place;
use super::vigil::{Pace, Patience, Phase, Vigil};
use crate::ledger::Ledger;
use crate::traffic::{OnSockets, Sort};

/// The connections of one socket.
pub(super) struct Connections {
    open: BTreeMap<Number, Connection>,
    /// Those in places that are the socket's own.
    in_own_places: usize,
    opened: Number,
    bells: Bells,
    door: Waker,
    /// Whether the door waits until one is gone.
    is_awaited: bool,
    counts: Counts,
}

/// Where what happens on a socket is counted.
#[derive(Clone)]
pub(super) struct Counts(pub(super) Arc<Ledger>, pub(super) Sort);

struct Connection {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    bell: Waker,
    pace: Arc<Pace>,
    vigil: Vigil,
    place: Place,
    is_over: bool,
}

impl Connections {
    /// None yet. The socket's door has a bell, which is [`DOOR`] and `door`.
    pub(super) fn new(bells: Bells, door: Waker, counts: Counts) -> Self {
        Self { open: BTreeMap::new(), in_own_places: 0, opened: DOOR, bells, door, is_awaited: false, counts }
    }

    /// Takes in one more, of which `work` is all there is to do, and begins with it.
    pub(super) fn insert(
        &mut self,
        work: impl Future<Output = ()> + Send + 'static,
        pace: Arc<Pace>,
        place: Place,
    ) {
        self.opened = self.opened.saturating_add(1);
        self.in_own_places = self.in_own_places.saturating_add(usize::from(place.is_own()));
        let counts = self.counts.clone();
        let work = Box::pin(async move {
            let _open = counts.sockets().open();
            work.await;
        });
        let bell = self.bells.hang(self.opened);
        let connection = Connection { work, bell, pace, vigil: Vigil::default(), place, is_over: false };
        self.open.insert(self.opened, connection);
        self.look_after(self.opened, || true);
    }

    /// Does a piece of the work of one of them. Of one that is gone, a bell may still ring. One that has
    /// waited for something to happen goes on when it `may_go_on`, and else rings again: one update has
    /// them go on by the thousand, and none was asked for now. Whether that is done.
    pub(super) fn look_after(&mut self, number: Number, may_go_on: impl FnOnce() -> bool) -> bool {
        let Some(connection) = self.open.get_mut(&number) else { return true };
        if !connection.is_over {
            if connection.pace.phase() == Phase::Watching && !may_go_on() {
                connection.bell.wake_by_ref();
                return false;
            }
            connection.pace.begin_piece();
            let mut context = Context::from_waker(&connection.bell);
            connection.is_over = connection.work.as_mut().poll(&mut context).is_ready();
        }
        if connection.is_over {
            self.remove(number);
        }
        true
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// How many are in places that are the socket's own.
    pub(super) fn in_own_places(&self) -> usize {
        self.in_own_places
    }

    /// Rings the door's bell when one is gone.
    pub(super) fn await_end(&mut self) {
        self.is_awaited = true;
    }

    /// Other times hold from now on: nobody is held to them for what was before.
    pub(super) fn begin_anew(&mut self) {
        for Connection { vigil, .. } in self.open.values_mut() {
            *vigil = Vigil::default();
        }
    }

    /// Ends those that are out of time, a piece for each.
    pub(super) fn end_those_out_of_time(&mut self, patience: &Patience) {
        for connection in self.open.values_mut() {
            if patience.is_over(&mut connection.vigil, &connection.pace) {
                self.counts.sockets().count_timed_out();
                connection.end();
            }
        }
    }

    /// Ends those that have nothing to answer, or nothing yet.
    pub(super) fn end_those_at_rest(&mut self) {
        for connection in self.open.values_mut() {
            if matches!(connection.pace.phase(), Phase::Idle | Phase::Watching) {
                connection.end();
            }
        }
    }

    fn remove(&mut self, number: Number) {
        if let Some(gone) = self.open.remove(&number) {
            self.in_own_places = self.in_own_places.saturating_sub(usize::from(gone.place.is_own()));
        }
        if std::mem::take(&mut self.is_awaited) {
            self.door.wake_by_ref();
        }
    }
}

impl Connection {
    fn end(&mut self) {
        self.is_over = true;
        self.bell.wake_by_ref();
    }
}

impl Counts {
    pub(super) fn sockets(&self) -> &OnSockets {
        self.0.traffic().on(self.1)
    }
}

/// The number of the bell at a socket's door.
pub(super) const DOOR: Number = 0;
