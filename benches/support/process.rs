//! The relay as a process, and what the kernel says of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What a process has used until now.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    pub(crate) peak_kib: u64,
    pub(crate) resident_kib: u64,
    pub(crate) anonymous_kib: u64,
    /// How often each of its threads was switched to, by number.
    pub(crate) switches: BTreeMap<u32, u64>,
}

impl Usage {
    /// How often its threads were switched to since `before`. What a thread did that ended since is lost.
    pub(crate) fn switches_since(&self, before: &Self) -> u64 {
        let since = |(thread, count): (&u32, &u64)| count - before.switches.get(thread).unwrap_or(&0);
        self.switches.iter().map(since).sum()
    }
}

/// A running relay; killed when dropped, also by a panic.
pub(crate) struct Relay {
    child: Child,
    log: Arc<(Mutex<String>, Condvar)>,
}

impl Relay {
    /// Starts `program run` with `relay.yaml` of this directory and these variables.
    pub(crate) fn start(program: &Path, directory: &Path, variables: &[(&str, String)]) -> Self {
        let mut child = Command::new(program)
            .args(["run", "--config", "relay.yaml", "--allow-inline-secrets"])
            .current_dir(directory)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the relay can be started");
        let log = Arc::<(Mutex<String>, Condvar)>::default();
        let stderr = BufReader::new(child.stderr.take().expect("it was asked for"));
        let said = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut text = said.0.lock().expect("nobody panics with it");
                text.push_str(&line);
                text.push('\n');
                said.1.notify_all();
            }
        });
        Self { child, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its log holds this text.
    pub(crate) fn wait_for_log(&self, what: &str, patience: Duration) {
        let begun = Instant::now();
        let mut text = self.log.0.lock().expect("nobody panics with it");
        while !text.contains(what) {
            assert!(begun.elapsed() < patience, "the relay never said {what}, but:\n{text}");
            text = self.log.1.wait_timeout(text, Duration::from_secs(1)).expect("nobody panics with it").0;
        }
    }

    /// What it has used until now.
    pub(crate) fn usage(&self) -> Usage {
        let read = |path: String| std::fs::read_to_string(path).expect("the relay runs");
        let proc = format!("/proc/{}", self.id());
        let stat = read(format!("{proc}/stat"));
        // After the name, which may hold anything: state is the third field of proc(5), utime the 14th.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or(&*stat, |(_, rest)| rest).split_whitespace().collect();
        let ticks =
            |index: usize| Duration::from_millis(10 * fields[index].parse::<u64>().expect("a number"));
        let status = read(format!("{proc}/status"));
        let mut switches = BTreeMap::new();
        for task in std::fs::read_dir(format!("{proc}/task")).expect("the relay runs").flatten() {
            // A thread may end meanwhile.
            let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
            let switched =
                field(&status, "voluntary_ctxt_switches") + field(&status, "nonvoluntary_ctxt_switches");
            let number = task.file_name().to_string_lossy().parse().expect("threads have numbers");
            switches.insert(number, switched);
        }
        Usage {
            user: ticks(11),
            system: ticks(12),
            peak_kib: field(&status, "VmHWM"),
            resident_kib: field(&status, "VmRSS"),
            anonymous_kib: field(&status, "RssAnon"),
            switches,
        }
    }

    /// Ends it in order, and shows what it had to complain of: figures with complaints are of something else.
    pub(crate) fn stop(mut self) {
        for line in self.log.0.lock().expect("nobody panics with it").lines() {
            if line.contains("\"WARN\"") || line.contains("\"ERROR\"") {
                eprintln!("  the relay says: {line}");
            }
        }
        let asked = Command::new("kill").args(["-s", "TERM", &self.id().to_string()]).status();
        assert!(asked.is_ok_and(|status| status.success()), "the relay could not be signalled");
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the relay does not end");
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(status.success(), "the relay ended with {status}");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
