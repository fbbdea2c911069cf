//! A relay process and the directory it works in.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, eventually};

/// The program under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_audit-relay")
}

/// A directory of its own for one test.
pub struct Workplace {
    directory: tempfile::TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    /// Writes `relay.yaml`: the text, with `DIR` standing for this directory.
    pub fn configure(&self, text: &str) -> PathBuf {
        let here = self.directory.path().to_str().unwrap();
        self.write("relay.yaml", text.replace("DIR", here))
    }

    /// The command `audit-relay ARGUMENTS` in this directory, with an empty environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.directory.path()).env_clear();
        if arguments.first() == Some(&"run") {
            command.envs(self.listeners());
        }
        // What is said nowhere is the machine's own directory.
        let written = self.written();
        if !written.is_empty() && !written.contains("data_dir") {
            command.env("AUDIT_RELAY__DATA_DIR", self.path("data"));
        }
        command
    }

    fn written(&self) -> String {
        std::fs::read_to_string(self.path("relay.yaml")).unwrap_or_default()
    }

    /// Any port that is free for each listener that `relay.yaml` says nothing of: many relays run at once.
    fn listeners(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let written = self.written();
        [("health:", "AUDIT_RELAY__HEALTH__LISTEN"), ("admin:", "AUDIT_RELAY__ADMIN__LISTEN")]
            .into_iter()
            .filter(move |(key, _)| !written.contains(key))
            .map(|(_, variable)| (variable, "127.0.0.1:0"))
    }

    /// Starts `audit-relay run` with `relay.yaml` and waits until it is ready.
    pub fn run(&self) -> Relay {
        let relay = self.start(&[]);
        relay.wait_for_log("\"ready\"");
        relay
    }

    /// Starts `audit-relay run` with `relay.yaml` and these variables.
    pub fn start(&self, variables: &[(&str, &str)]) -> Relay {
        let mut command = self.command(&["run", "--config", "relay.yaml", "--allow-inline-secrets"]);
        command.envs(variables.iter().copied());
        Relay::spawn(command)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// How a relay ended, and all it said.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    pub log: String,
    pub stdout: String,
}

#[derive(Default)]
struct Said {
    text: Mutex<String>,
    more: Condvar,
}

impl Said {
    fn listen(self: &Arc<Self>, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let said = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut text = said.text.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
                said.more.notify_all();
            }
        })
    }

    fn wait_for(&self, what: &str) {
        let begun = Instant::now();
        let mut text = self.text.lock().unwrap();
        while !text.contains(what) {
            if begun.elapsed() >= PATIENCE {
                let said = text.clone();
                // Whoever tells of the panic looks into it, too.
                drop(text);
                panic!("the relay never said {what:?}, but:\n{said}");
            }
            text = self.more.wait_timeout(text, Duration::from_secs(1)).unwrap().0;
        }
    }
}

/// A running relay; killed when dropped.
pub struct Relay {
    child: Child,
    log: Arc<Said>,
    stdout: Arc<Said>,
    listeners: Vec<JoinHandle<()>>,
}

impl Relay {
    pub fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (log, stdout) = (Arc::<Said>::default(), Arc::<Said>::default());
        let listeners =
            vec![log.listen(child.stderr.take().unwrap()), stdout.listen(child.stdout.take().unwrap())];
        Self { child, log, stdout, listeners }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    pub fn stdout(&self) -> String {
        self.stdout.text.lock().unwrap().clone()
    }

    /// Waits until standard error holds this text.
    pub fn wait_for_log(&self, what: &str) {
        self.log.wait_for(what);
    }

    /// Where its listener `health` or `admin`, or a source, listens, as it logged it last.
    #[track_caller]
    pub fn listens(&self, what: &str) -> SocketAddr {
        eventually(&format!("{what} is listened to"), || {
            let log = self.log();
            let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut found = lines.filter(|line| {
                line["message"] == "listening" && (line["what"] == what || line["source"] == what)
            });
            found.next()?["address"].as_str()?.parse().ok()
        })
    }

    /// Waits until standard output holds this text.
    pub fn wait_for_stdout(&self, what: &str) {
        self.stdout.wait_for(what);
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Sends a signal again and again until it ends, and how it ended.
    pub fn insist(mut self, name: &str) -> Exit {
        eventually("the relay gives in", || {
            let ended = self.child.try_wait().unwrap();
            if ended.is_none() {
                self.signal(name);
            }
            ended
        });
        self.wait()
    }

    /// SIGTERM, and how it ended.
    pub fn stop(self) -> Exit {
        self.signal("TERM");
        self.wait()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Exit {
        let status = eventually("the relay ends", || self.child.try_wait().unwrap());
        for listener in self.listeners.drain(..) {
            listener.join().unwrap();
        }
        Exit { status, log: self.log(), stdout: self.stdout() }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("=== the relay said\n{}\n===", self.log());
        }
    }
}
