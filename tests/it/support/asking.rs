//! What operators are told.

use serde_json::Value;

use super::{Workplace, eventually};

impl Workplace {
    /// What `audit-relay ARGUMENTS -c relay.yaml` prints, which must succeed.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).args(["-c", "relay.yaml"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `status --json`, of books that balance.
    #[track_caller]
    pub fn status(&self) -> Value {
        let status: Value = serde_json::from_str(&self.ask(&["status", "--json"])).unwrap();
        assert_eq!(status["balanced"], true, "{status:#}");
        status
    }

    /// What the status says of a destination, or of an orphan.
    #[track_caller]
    pub fn destination(&self, name: &str) -> Value {
        let status = self.status();
        let all = ["destinations", "orphans"].map(|key| status[key].as_array().unwrap());
        let found = all.into_iter().flatten().find(|destination| destination["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {status:#}")).clone()
    }

    /// Waits until the status shows all of these of a destination.
    #[track_caller]
    pub fn wait_for_standing(&self, name: &str, wanted: &Value) -> Value {
        let mut last = Value::Null;
        let wanted = wanted.as_object().unwrap();
        let begun = std::time::Instant::now();
        eventually(&format!("{name} as {wanted:?}"), || {
            last = self.destination(name);
            let late = begun.elapsed() > super::PATIENCE / 2;
            assert!(!late, "{name} never as {wanted:?}, but {last:#}");
            wanted.iter().all(|(key, value)| last[key] == *value).then(|| last.clone())
        })
    }

    /// `dead-letters list --json`.
    pub fn dead_letters(&self) -> Vec<Value> {
        let list: Value =
            serde_json::from_str(&self.ask(&["dead-letters", "list", "--json", "--limit", "1000"])).unwrap();
        list["dead_letters"].as_array().unwrap().clone()
    }
}

/// A line of `/proc/PID/status`, in KiB: `VmRSS`, `VmHWM`.
pub fn memory_kib(process: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let found = status.lines().find_map(|other| other.strip_prefix(line)?.strip_prefix(':'));
    found.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}
