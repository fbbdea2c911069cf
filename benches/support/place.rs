//! A relay at work: its directory, its configuration, the lines it reads, and what to say of the machine.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::process::Relay;
use super::receiver::Receiver;

/// The flags that events are about, unless told otherwise (`FLAGS`).
pub(crate) static FLAGS: LazyLock<usize> = LazyLock::new(|| number("FLAGS", 1_000).max(1));

/// How the events are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Batches,
    OneByOne,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches of 100, envelope, signed",
            Self::OneByOne => "one by one, flipt, signed",
        }
    }

    pub(crate) fn destination(self) -> &'static str {
        match self {
            Self::Batches => "format: envelope\n    batch: {max_events: 100}",
            Self::OneByOne => "format: flipt",
        }
    }
}

/// A directory with a configuration, a log and a journal; removed at the end.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new(receiver: &Receiver, mode: Mode) -> Self {
        let directory = tempfile::tempdir_in(bench_dir()).expect("a directory can be made");
        let here = directory.path().display();
        let configuration = format!(
            "data_dir: {here}/data
sources: {{flipt: {{type: file, path: {here}/audit.log}}}}
destinations:
  hook:
    type: webhook
    url: http://{}/hook
    signing: [{{scheme: flipt, secrets: [s3cr3t]}}]
    {}
routes: {{everything: {{to: [hook]}}}}
journal: {{max_size: 4GiB}}
",
            receiver.address(),
            mode.destination()
        );
        std::fs::write(directory.path().join("relay.yaml"), configuration).expect("it can be written");
        std::fs::write(directory.path().join("audit.log"), "").expect("it can be written");
        Self { directory }
    }

    /// A further destination that takes everything too.
    pub(crate) fn add_destination(&self, yaml: &str) {
        let path = self.directory.path().join("relay.yaml");
        let text = std::fs::read_to_string(&path).expect("it is there");
        let name = yaml.split(':').next().unwrap_or_default();
        let text = text
            .replace("destinations:\n", &format!("destinations:\n  {yaml}\n"))
            .replace("[hook]", &format!("[hook, {name}]"));
        std::fs::write(path, text).expect("it can be written");
    }

    pub(crate) fn open_log(&self) -> std::fs::File {
        let path = self.directory.path().join("audit.log");
        std::fs::OpenOptions::new().append(true).open(path).expect("the log can be opened")
    }

    pub(crate) fn append(&self, text: &str) {
        self.open_log().write_all(text.as_bytes()).expect("the log can be written");
    }

    pub(crate) fn run(&self) -> Relay {
        self.run_with(&[])
    }

    /// Starts it with these variables, and nothing else, in its environment.
    pub(crate) fn run_with(&self, variables: &[(&str, String)]) -> Relay {
        let program = Path::new(env!("CARGO_BIN_EXE_audit-relay"));
        let relay = Relay::start(program, self.directory.path(), variables);
        relay.wait_for_log("\"ready\"", Duration::from_secs(60));
        relay
    }

    pub(crate) fn journal_bytes(&self) -> u64 {
        ["journal.db", "journal.db-wal"]
            .iter()
            .filter_map(|name| std::fs::metadata(self.directory.path().join("data").join(name)).ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

pub(crate) fn lines(numbers: std::ops::Range<usize>) -> String {
    let mut text = String::with_capacity(numbers.len() * 410);
    for number in numbers {
        text += &line(number);
    }
    text
}

/// One event of about 400 bytes; `#` and its number stand in its description alone.
pub(crate) fn line(number: usize) -> String {
    // Scattered, as edits are; each edit turns its flag on or off.
    let flag = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % *FLAGS;
    let enabled = (number / *FLAGS).is_multiple_of(2);
    format!(
        r##"{{"version":"0.2","type":"flag","action":"updated","metadata":{{"actor":{{"authentication":"oidc","ip":"10.1.2.3","email":"ann@example.com","name":"Ann Example"}}}},"payload":{{"key":"flag-{flag:06}","name":"Flag {flag:06}","description":"#{number:09} rolls out the new checkout to some more people","enabled":{enabled},"namespace_key":"production"}},"timestamp":"2026-11-22T08:32:19Z","status":"success"}}{}"##,
        '\n'
    )
}

/// Where files and journals are made. Not /tmp, which may be memory and sync for nothing.
pub(crate) fn bench_dir() -> PathBuf {
    std::env::var_os("BENCH_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from)
}

/// How long an append of 4 KiB and its sync take on this disk now: what no relay can be faster than.
pub(crate) fn sync_times() -> String {
    let mut file = tempfile::tempfile_in(bench_dir()).expect("a file can be made");
    let mut took: Vec<Duration> = (0..500)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[0; 4096]).and_then(|()| file.sync_all()).expect("the disk can be written");
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    let at = |index: usize| took[index].as_secs_f64() * 1e3;
    format!("{:.2} ms (p50), {:.2} ms (p99), {:.0} ms (longest)", at(250), at(495), at(499))
}

pub(crate) fn about_this_machine() -> String {
    let mut text = String::new();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": an unknown CPU");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let say = |command: &str, arguments: &[&str]| {
        let output = std::process::Command::new(command)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let _ = writeln!(text, "An append of 4 KiB with its sync takes {} here.", sync_times());
    let _ = writeln!(
        text,
        "{}, commit {}, {cores} cores of {}, load {} before; lines of {} bytes",
        say("date", &["-u", "+%F"]),
        say("git", &["describe", "--always", "--dirty", "--abbrev=9"]),
        model.trim_start_matches([' ', '\t', ':']),
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default(),
        line(0).len(),
    );
    text
}

pub(crate) fn number(name: &str, default: usize) -> usize {
    let text = std::env::var(name).unwrap_or_default();
    if text.is_empty() {
        default
    } else {
        text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}"))
    }
}
