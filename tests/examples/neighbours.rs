//! How much eight resources that flood can slow a ninth: `make bench-neighbours`. The ninth asks one
//! request at a time; windows in which nobody else asks anything and windows of each flood take turns,
//! and the medians of their percentiles are compared. Ends with 1 if under any flood the p99 is more
//! than twice the idle one.
//!
//! The floods are processes of their own at idle priority. What is measured is the daemon's fairness and
//! not the kernel's: of each answer's time, that in which the daemon or the victim could have run and
//! waited for a processor is taken off (`run_delay` of `/proc/PID/schedstat`). The ratio with it, which
//! says as much of this machine's other work, stands in the last column.
//!
//!   neighbours [--rounds N] [--window MS] [--layout NAME]... [--flood NAME]... [--mode NAME]... [--attackers N]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use miosa_tests::flood::{Flood, REQUEST};
use miosa_tests::program::eventually;
use miosa_tests::{LoneHost, Publisher};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [attack, flood, socket, milliseconds] = words.as_slice()
        && attack == "attack"
    {
        let time = Duration::from_millis(milliseconds.parse().expect("milliseconds"));
        Flood::named(flood).expect("a flood").run(Path::new(socket), time);
        return ExitCode::SUCCESS;
    }
    let plan = Plan::read(&words);
    let mut worst: f64 = 0.0;
    println!(
        "layout         victim      flood          p50 idle  flood | p99 idle  flood  ratio | max idle   flood  (microseconds)"
    );
    for layout in &plan.layouts {
        let bench = Bench::start(*layout);
        for mode in &plan.modes {
            for flood in &plan.floods {
                worst = worst.max(bench.compare(&plan, *mode, *flood));
            }
        }
    }
    println!("worst ratio of p99: {worst:.2}");
    if worst > 2.0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Who runs on which processor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// The daemon and the victim on one, the floods on the other.
    Together,
    /// The daemon alone on one, the victim and the floods on the other.
    Apart,
    /// Wherever the kernel puts them.
    Unpinned,
}

/// How the victim asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// On one connection, each request right after the answer to the last.
    KeepAlive,
    /// The same with half a millisecond in between.
    KeepAlivePaced,
    /// With a connection for each request, one right after the other.
    Connection,
    /// The same with half a millisecond in between.
    ConnectionPaced,
}

struct Plan {
    rounds: usize,
    window: Duration,
    attackers: usize,
    layouts: Vec<Layout>,
    modes: Vec<Mode>,
    floods: Vec<Flood>,
}

/// A daemon with nine resources.
struct Bench {
    layout: Layout,
    host: LoneHost,
    _folder: tempfile::TempDir,
}

/// Percentiles of one window, in microseconds.
#[derive(Clone, Copy)]
struct Spread {
    p50: f64,
    p99: f64,
    max: f64,
    /// With the waiting for a processor.
    wall_p99: f64,
}

/// How long a process has waited for a processor.
struct RunDelay(File);

impl Plan {
    fn read(words: &[String]) -> Self {
        let mut plan = Self {
            rounds: 5,
            window: Duration::from_millis(400),
            attackers: ATTACKERS.len(),
            layouts: Vec::new(),
            modes: Vec::new(),
            floods: Vec::new(),
        };
        for pair in words.chunks(2) {
            let [option, value] = pair else { panic!("a value is missing after {pair:?}") };
            match option.as_str() {
                "--rounds" => plan.rounds = value.parse().expect("a number"),
                "--window" => plan.window = Duration::from_millis(value.parse().expect("milliseconds")),
                "--attackers" => plan.attackers = value.parse().expect("a number"),
                "--layout" => plan.layouts.push(one_of(&Layout::ALL, Layout::name, value)),
                "--mode" => plan.modes.push(one_of(&Mode::ALL, Mode::name, value)),
                "--flood" => plan.floods.push(one_of(&Flood::ALL, Flood::name, value)),
                _ => panic!("unknown option {option}"),
            }
        }
        if plan.layouts.is_empty() {
            plan.layouts = Layout::ALL.to_vec();
        }
        if plan.modes.is_empty() {
            plan.modes = Mode::ALL.to_vec();
        }
        if plan.floods.is_empty() {
            plan.floods = Flood::ALL.to_vec();
        }
        plan
    }
}

impl Bench {
    fn start(layout: Layout) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut publisher = Publisher::new("host_1");
        let mut host = LoneHost::enroll(folder.path(), &mut publisher);
        let serve = host.command(&["serve", "--log-level", "error"]);
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", layout.daemon()]).arg(serve.get_program()).args(serve.get_args());
        host.equip(&mut pinned);
        host.start_as(pinned);
        assert_eq!(
            host.push(&publisher.full_on(1, &[&[VICTIM], &ATTACKERS[..]].concat()))
                .expect("an answer")
                .status,
            200
        );
        let bench = Self { layout, host, _folder: folder };
        eventually("the victim is answered", || UnixStream::connect(bench.socket(VICTIM)).ok());
        bench
    }

    /// Windows of quiet and of a flood in turn; the ratio of the medians of their p99.
    fn compare(&self, plan: &Plan, mode: Mode, flood: Flood) -> f64 {
        let (mut idle, mut flooded) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            self.calm_down(mode);
            idle.push(self.window(plan.window, mode));
            let attackers = self.attack(plan, flood);
            // Until the floods are at their height.
            std::thread::sleep(Duration::from_millis(100));
            flooded.push(self.window(plan.window, mode));
            attackers.into_iter().for_each(end);
        }
        let (idle, flooded) = (Spread::median(&idle), Spread::median(&flooded));
        let ratio = flooded.p99 / idle.p99;
        println!(
            "{:<9} {:<11} {:<13} {:>8.0} {:>6.0} | {:>8.0} {:>6.0} {ratio:>6.2} | {:>8.0} {:>7.0} | {:>13.0} {:>6.0} {:>6.2}",
            self.layout.name(),
            mode.name(),
            flood.name(),
            idle.p50,
            flooded.p50,
            idle.p99,
            flooded.p99,
            idle.max,
            flooded.max,
            idle.wall_p99,
            flooded.wall_p99,
            flooded.wall_p99 / idle.wall_p99
        );
        ratio
    }

    fn attack(&self, plan: &Plan, flood: Flood) -> Vec<Child> {
        let time = (plan.window + Duration::from_secs(5)).as_millis().to_string();
        let start = |resource: &&str| {
            let mut command = Command::new("taskset");
            command.args(["-c", self.layout.attackers(), "chrt", "--idle", "0"]);
            command.arg(std::env::current_exe().expect("this program")).args(["attack", flood.name()]);
            command.arg(self.socket(resource)).arg(&time).spawn().expect("start an attacker")
        };
        ATTACKERS.iter().take(plan.attackers).map(start).collect()
    }

    /// Asks on and on for so long.
    fn window(&self, time: Duration, mode: Mode) -> Spread {
        pin(self.layout.victim());
        let socket = self.socket(VICTIM);
        let (mut times, mut walls, mut buffer) = (Vec::new(), Vec::new(), vec![0; 64 * 1024]);
        let processes = [self.pid(), Pid::this().as_raw()].map(RunDelay::of);
        let waited = || processes.iter().map(RunDelay::now).sum::<Duration>();
        let until = Instant::now() + time;
        let mut kept = None;
        while Instant::now() < until {
            let waited_before = waited();
            let asked = Instant::now();
            let mut stream =
                kept.take().unwrap_or_else(|| UnixStream::connect(&socket).expect("a connection"));
            stream.write_all(REQUEST).expect("a request");
            read_answer(&mut stream, &mut buffer);
            match mode {
                Mode::KeepAlive | Mode::KeepAlivePaced => kept = Some(stream),
                Mode::Connection | Mode::ConnectionPaced => drop(stream),
            }
            let wall = asked.elapsed();
            walls.push(wall);
            times.push(wall.saturating_sub(waited() - waited_before));
            if matches!(mode, Mode::KeepAlivePaced | Mode::ConnectionPaced) {
                std::thread::sleep(Duration::from_micros(500));
            }
        }
        pin(BOTH);
        Spread::of(times, walls)
    }

    /// Waits until nothing of a flood is left in the daemon.
    fn calm_down(&self, mode: Mode) {
        eventually("the daemon is at rest", || {
            let before = self.cpu_ticks();
            std::thread::sleep(Duration::from_millis(50));
            (self.cpu_ticks() <= before).then_some(())
        });
        let _warmed_up = self.window(Duration::from_millis(20), mode);
    }

    fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("its times");
        let fields = stat.rsplit(") ").next().expect("fields").split(' ');
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum()
    }

    fn pid(&self) -> i32 {
        self.host.pid()
    }

    fn socket(&self, resource: &str) -> PathBuf {
        self.host.path("run/resources").join(resource).join("miosa.sock")
    }
}

impl Spread {
    fn of(mut times: Vec<Duration>, mut walls: Vec<Duration>) -> Self {
        times.sort_unstable();
        walls.sort_unstable();
        let at = |times: &[Duration], per_mille: usize| {
            times[(times.len() - 1) * per_mille / 1000].as_secs_f64() * 1e6
        };
        Self { p50: at(&times, 500), p99: at(&times, 990), max: at(&times, 1000), wall_p99: at(&walls, 990) }
    }

    fn median(windows: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> f64| {
            let mut values: Vec<f64> = windows.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            p50: middle(|window| window.p50),
            p99: middle(|window| window.p99),
            max: middle(|window| window.max),
            wall_p99: middle(|window| window.wall_p99),
        }
    }
}

impl RunDelay {
    /// Of the first thread of a process.
    fn of(pid: i32) -> Self {
        Self(File::open(format!("/proc/{pid}/schedstat")).expect("the kernel's times"))
    }

    fn now(&self) -> Duration {
        let mut text = [0; 64];
        let count = self.0.read_at(&mut text, 0).expect("the kernel's times");
        let text = std::str::from_utf8(&text[..count]).expect("text");
        let nanos = text.split(' ').nth(1).expect("a second number");
        Duration::from_nanos(nanos.trim().parse().expect("nanoseconds"))
    }
}

impl Layout {
    const ALL: [Self; 3] = [Self::Apart, Self::Together, Self::Unpinned];

    fn name(self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Apart => "apart",
            Self::Unpinned => "unpinned",
        }
    }

    fn daemon(self) -> &'static str {
        if self == Self::Unpinned { BOTH } else { "0" }
    }

    fn victim(self) -> &'static str {
        match self {
            Self::Together => "0",
            Self::Apart => "1",
            Self::Unpinned => BOTH,
        }
    }

    fn attackers(self) -> &'static str {
        if self == Self::Unpinned { BOTH } else { "1" }
    }
}

impl Mode {
    const ALL: [Self; 4] = [Self::KeepAlive, Self::KeepAlivePaced, Self::Connection, Self::ConnectionPaced];

    fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::KeepAlivePaced => "keep-paced",
            Self::Connection => "connection",
            Self::ConnectionPaced => "conn-paced",
        }
    }
}

fn read_answer(stream: &mut UnixStream, buffer: &mut [u8]) {
    let (mut filled, mut whole) = (0, None);
    while whole.is_none_or(|whole| filled < whole) {
        let count = stream.read(&mut buffer[filled..]).expect("an answer");
        assert!(count > 0, "the connection ended");
        filled += count;
        if whole.is_none() {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut headers);
            if let Ok(httparse::Status::Complete(head)) = response.parse(&buffer[..filled]) {
                assert_eq!(response.code, Some(200));
                let length =
                    response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
                let length = std::str::from_utf8(length.expect("a length").value).expect("text");
                whole = Some(head + length.parse::<usize>().expect("a number"));
            }
        }
    }
}

fn end(mut attacker: Child) {
    let _ended_by_itself = attacker.kill();
    let _status = attacker.wait();
}

fn pin(processors: &str) {
    let mut set = CpuSet::new();
    for processor in processors.split(',') {
        set.set(processor.parse().expect("a number")).expect("a processor");
    }
    sched_setaffinity(Pid::from_raw(0), &set).expect("may choose a processor");
}

fn one_of<T: Copy>(all: &[T], name: fn(T) -> &'static str, wanted: &str) -> T {
    *all.iter().find(|one| name(**one) == wanted).unwrap_or_else(|| panic!("unknown name {wanted}"))
}

const VICTIM: &str = "sbx-victim";
const ATTACKERS: [&str; 8] = ["atk-1", "atk-2", "atk-3", "atk-4", "atk-5", "atk-6", "atk-7", "atk-8"];
const BOTH: &str = "0,1";
