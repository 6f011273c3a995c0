//! The parent of the command, for `--init`: it passes signals on, hears the end of every child, keeps the
//! command's exit status, and starts the command again when something else is to be started.
//!
//! | what | module |
//! |---|---|
//! | what is done when | [`course`] |
//! | the command, its group | [`job`] |
//! | the ends of children, orphans included | [`children`] |
//! | the terminal and its foreground | [`terminal`] |
//!
//! One process, which sleeps until a signal comes, an answer of the daemon, or the time for something.

mod children;
mod course;
mod job;
mod terminal;

use std::os::fd::AsRawFd;
use std::time::Instant;

use nix::libc;
use nix::poll::PollFlags;
use nix::sys::prctl;
use nix::unistd::{Pid, getpgrp, getpid, getsid};

use crate::delivery::Placed;
use crate::failure::Failure;
use crate::options::{OnChange, Options};
use crate::patience::await_either;
use crate::plan::Plan;
use crate::signals::{self, Signals, Treatment};
use crate::sys;
use crate::watch::Watcher;

use children::News;
use course::{Course, Step};
use job::Job;
use terminal::Terminal;

/// Starts the command and stays with it until it ends; its exit status, 128 + N after death by signal N.
pub(crate) fn run(
    plan: Plan,
    signals: Signals,
    watcher: Option<Watcher<'_>>,
    placed: Placed,
    options: &Options,
) -> Result<i32, Failure> {
    let is_first = getpid() == FIRST_PROCESS;
    if !is_first {
        // As they come to a first process by themselves. Linux has it since 3.4.
        let _since = prctl::set_child_subreaper(true);
    }
    let terminal = Terminal::find();
    let job = Job::start(&plan, terminal, &signals)?;
    // What the command was given is wiped with it; see `sys`.
    drop(plan);
    if options.on_change != OnChange::Restart {
        // Where nothing is started again the directory is of no use to us, and could not be unmounted below us.
        let _moved = std::env::set_current_dir("/");
    }
    if watcher.is_none() {
        // Nor are the descriptors that were meant for the command; another plan would count them again, to find
        // numbers that are free, and has to come to the same.
        sys::close_inherited(signals.descriptor().as_raw_fd());
    }
    let course = Course::new(options.grace, options.settle);
    let mut parent = Parent {
        is_machine: options.vm,
        is_first,
        is_alone: is_first || getsid(None) == Ok(getpgrp()),
        terminal,
        job,
        course,
        signals,
        watcher,
        placed,
        on_change: options.on_change,
        next: None,
        is_put_off: false,
        is_pausing: false,
        is_let_go: false,
        held: Vec::new(),
    };
    parent.attend()
}

/// Before there is a command: whoever has ended is an orphan, or a child of what became us by `execve`.
pub(crate) fn bury_the_dead() {
    let _of_no_command = children::hear(None);
}

/// All that there is to look after.
struct Parent<'a> {
    /// Whether we are PID 1 of a machine, whose SIGINT is Ctrl-Alt-Del: reboot(2), LINUX_REBOOT_CMD_CAD_OFF.
    is_machine: bool,
    /// Whether we are PID 1, which the kernel neither stops nor ends by a signal of its own.
    is_first: bool,
    /// Whether no shell is above us that could let us go on once a key has stopped us: shells make each job
    /// a group of its own, and we are in that of the session's leader. The kernel says of such a group that
    /// it is orphaned, and leaves it alone.
    is_alone: bool,
    terminal: Terminal,
    job: Job,
    course: Course,
    signals: Signals,
    watcher: Option<Watcher<'a>>,
    placed: Placed,
    on_change: OnChange,
    /// What is started next.
    next: Option<Plan>,
    /// Its files could not be written, or not all of them.
    is_put_off: bool,
    /// The command was asked to stop until it is let go on, and we with it.
    is_pausing: bool,
    /// Among the signals that were read last is one to go on.
    is_let_go: bool,
    /// Signals for a command that is not there yet.
    held: Vec<i32>,
}

impl Parent<'_> {
    fn attend(&mut self) -> Result<i32, Failure> {
        // Whoever called `execve` may have left children who ended before.
        self.hear_children();
        loop {
            self.pass_signals_on();
            while let Some(step) = self.course.step(Instant::now()) {
                match step {
                    Step::Exit(status) => return Ok(status),
                    Step::Change => self.change(),
                    Step::Kill => self.job.signal_group(libc::SIGKILL),
                    Step::AwaitGroup if self.job.is_group_left() => break,
                    Step::AwaitGroup | Step::StartAgain => self.start_again()?,
                }
            }
            self.sleep();
        }
    }

    /// Until there is something to do. The daemon is heard here as well.
    fn sleep(&mut self) {
        let now = Instant::now();
        // Once all is to end, nothing new is of interest.
        let mut watcher = self.watcher.as_mut().filter(|_| !self.course.is_last());
        let until = [self.course.deadline(now), watcher.as_ref().map(|watcher| watcher.deadline())];
        let until = until.into_iter().flatten().min();
        let signals = (self.signals.descriptor(), PollFlags::POLLIN);
        let awaited = watcher.as_ref().and_then(|watcher| watcher.descriptor());
        let time = until.map(|until| until.saturating_duration_since(now));
        let (is_ready, _) = await_either(awaited, Some(signals), time);
        let Some(watcher) = watcher.as_mut() else { return };
        if let Some(plan) = watcher.advance(is_ready) {
            let is_in_force = watcher.is_in_force();
            self.next_is(plan, is_in_force);
        }
    }

    /// Something else is to be started from now on; or again what runs, and nothing has to be done.
    fn next_is(&mut self, plan: Plan, is_in_force: bool) {
        if is_in_force && !self.course.is_ending() {
            // Some files may be those of the change that could not be brought about as a whole.
            let _done = self.is_put_off && self.put_files(&plan);
            self.next = None;
            return self.course.change_is_done();
        }
        // While the former is ending already, its successor has to find the newest files.
        if self.course.is_ending() && !self.put_files(&plan) {
            return;
        }
        self.next = Some(plan);
        self.course.changed(Instant::now());
    }

    fn pass_signals_on(&mut self) {
        let came = self.signals.take();
        self.is_let_go = came.iter().any(|signal| signal.number == libc::SIGCONT);
        for signal in came {
            let number = signal.number;
            match signals::treatment(number) {
                Treatment::Reap => self.hear_children(),
                Treatment::Ignore | Treatment::Leave => {}
                Treatment::ToCommand if self.job.is_running() => self.job.signal(number),
                Treatment::ToGroup
                    if number == libc::SIGTERM || (self.is_machine && number == libc::SIGINT) =>
                {
                    self.job.terminate();
                    self.course.asked_to_stop(Instant::now());
                }
                Treatment::ToGroup if self.job.is_running() => self.signal_group(number),
                Treatment::ToCommand | Treatment::ToGroup => self.held.push(number),
            }
        }
    }

    fn signal_group(&mut self, number: i32) {
        match number {
            // In a session of its own the kernel would not let SIGTSTP stop it: nobody near could let it go on.
            libc::SIGTSTP => {
                self.is_pausing = true;
                let number = if self.terminal.is_ours() { number } else { libc::SIGSTOP };
                self.job.signal_group(number);
            }
            libc::SIGCONT => {
                self.is_pausing = false;
                self.is_let_go = false;
                self.terminal.lend(self.job.leader());
                self.job.signal_group(libc::SIGCONT);
            }
            _ => self.job.signal_group(number),
        }
    }

    fn hear_children(&mut self) {
        while let Some(news) = children::hear(self.job.is_running().then(|| self.job.leader())) {
            match news {
                News::Ended(status) => self.ended(status),
                News::Stopped(by) => self.stopped(by),
                News::Continued => self.job.is_stopped = false,
            }
        }
    }

    fn ended(&mut self, status: i32) {
        self.course.ended(status, Instant::now());
        if self.course.is_last() {
            // What it leaves behind. Its number is its group's alone as long as it is not buried.
            self.job.signal_group(libc::SIGTERM);
        }
        self.terminal.take_back(self.job.leader());
        children::bury(self.job.leader());
        self.job.gone();
    }

    /// The command has stopped. A shell that we are a job of has to see us stop for that, and gives us the
    /// terminal again when we are let go on.
    fn stopped(&mut self, by: i32) {
        self.job.is_stopped = true;
        let leader = self.job.leader();
        if self.course.is_ending() {
            self.job.signal_group(libc::SIGCONT);
            return;
        }
        let is_asked = std::mem::take(&mut self.is_pausing);
        let is_by_key = by == libc::SIGTSTP;
        let is_by_use = by == libc::SIGTTIN || by == libc::SIGTTOU;
        let is_in_vain = is_by_key && !is_asked && self.is_alone;
        // A shell gives the terminal to a job that runs without a word.
        if is_in_vain || (is_by_use && self.terminal.lend(leader)) {
            self.job.signal_group(libc::SIGCONT);
            return;
        }
        // To stop takes the signal to go on out of the queue: signal(7) does not say it, and kernels do it.
        if self.is_first || self.is_let_go || sys::is_waiting(libc::SIGCONT) {
            return;
        }
        let was_lent = self.terminal.take_back(leader);
        if is_asked || was_lent || ((is_by_key || is_by_use) && !self.is_alone) {
            // The kernel would have stopped all of the job that we are a part of.
            let is_all = (is_by_key && was_lent) || (is_by_use && self.terminal.is_ours());
            let whom = if is_all { OUR_GROUP } else { getpid() };
            let _stopped = sys::send_signal(whom.as_raw(), libc::SIGSTOP);
        }
    }

    /// The change has rested long enough.
    fn change(&mut self) {
        let Some(plan) = self.next.take() else { return self.course.change_is_done() };
        if !self.put_files(&plan) {
            self.next = Some(plan);
            return self.course.put_off(Instant::now());
        }
        match self.on_change {
            OnChange::Ignore => self.course.change_is_done(),
            OnChange::Signal(signal) => {
                let number = signals::number(signal);
                self.job.signal(number);
                self.come_into_force();
                self.course.change_is_done();
            }
            OnChange::Restart => {
                self.next = Some(plan);
                self.course.replacing(Instant::now());
                self.job.terminate();
            }
        }
    }

    /// Whether it could be done; that it could not is told once.
    fn put_files(&mut self, plan: &Plan) -> bool {
        let put = plan.put_files(&mut self.placed);
        let was_put_off = std::mem::replace(&mut self.is_put_off, put.is_err());
        let Err(failure) = put else { return true };
        if !was_put_off {
            Failure::own(format_args!("{}; the command runs on as it was started", failure.text())).tell();
        }
        false
    }

    fn start_again(&mut self) -> Result<(), Failure> {
        let Some(plan) = self.next.take() else {
            self.course.asked_to_stop(Instant::now());
            return Ok(());
        };
        // A shell may have moved us to the background since.
        self.terminal = Terminal::find();
        self.job = Job::start(&plan, self.terminal, &self.signals)?;
        self.course.started();
        self.come_into_force();
        for number in std::mem::take(&mut self.held) {
            if signals::treatment(number) == Treatment::ToGroup {
                self.signal_group(number);
            } else {
                self.job.signal(number);
            }
        }
        Ok(())
    }

    fn come_into_force(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            watcher.has_come_into_force();
        }
    }
}

const FIRST_PROCESS: Pid = Pid::from_raw(1);
/// kill(2): all of the group that we are in.
const OUR_GROUP: Pid = Pid::from_raw(0);
