//! What the system says of this process (`proc(5)`), by the names that all Prometheus clients use
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::instruments::{
    Instrument, PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_RESIDENT, PROCESS_STARTED,
    PROCESS_VIRTUAL, Reading, Value,
};

/// What can be found out here; elsewhere than on Linux that is little.
#[must_use]
pub fn readings() -> Vec<Reading> {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let max_fds = getrlimit(Resource::Nofile).current;
    let found: [(&'static Instrument, Option<f64>); 6] = [
        (&PROCESS_CPU, Some(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9)),
        (&PROCESS_RESIDENT, kibibytes(&status, "VmRSS:")),
        (&PROCESS_VIRTUAL, kibibytes(&status, "VmSize:")),
        (&PROCESS_FDS, open_fds()),
        (&PROCESS_MAX_FDS, max_fds.map(|max| max as f64)),
        (&PROCESS_STARTED, started()),
    ];
    let told = found.into_iter().filter_map(|(instrument, value)| Some((instrument, value?)));
    told.map(|(instrument, value)| Reading { instrument, labels: Vec::new(), value: Value::Number(value) })
        .collect()
}

fn kibibytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse().ok().map(|kib: f64| kib * 1024.0)
}

fn open_fds() -> Option<f64> {
    // One of them is the directory itself.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64)
}

/// Ticks after the system was started, by the 22nd field; the second one, a name, may hold spaces.
fn started() -> Option<f64> {
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: f64 = own.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + ticks / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured() {
        let readings = readings();
        let number = |instrument: &Instrument| {
            let reading = readings.iter().find(|reading| reading.instrument == instrument);
            match reading.map(|reading| &reading.value) {
                Some(Value::Number(number)) => *number,
                other => panic!("{}: {other:?}", instrument.name),
            }
        };
        let now = crate::event::Timestamp::now().unix_seconds() as f64;
        let age = now - number(&PROCESS_STARTED);
        assert!((-2.0..86_400.0).contains(&age), "{age}");
        assert!(number(&PROCESS_RESIDENT) > 1e6 && number(&PROCESS_RESIDENT) <= number(&PROCESS_VIRTUAL));
        assert!(number(&PROCESS_CPU) > 0.0 && number(&PROCESS_CPU) < 86_400.0);
        assert!(number(&PROCESS_FDS) >= 3.0 && number(&PROCESS_FDS) < number(&PROCESS_MAX_FDS));
    }
}
