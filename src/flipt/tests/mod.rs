mod body;
mod changes;
mod events;
mod keys;
mod lines;
mod rewrite;

pub(super) fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/flipt/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) const V0_2: [&str; 5] = [
    "v0.2_webhook_bodies.ndjson",
    "v0.2_logfile_encoding-json.log",
    "v0.2_logfile_encoding-console_DEFAULT.log",
    "v0.2_stdout_json.txt",
    "v0.2_stdout_console.txt",
];

pub(super) const V0_1: [&str; 3] =
    ["v0.1_logfile_flipt-v1.21.0.log", "v0.1_logfile_flipt-v1.30.0.log", "v0.1_logfile_flipt-v1.42.1.log"];
