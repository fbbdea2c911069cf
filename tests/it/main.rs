//! Tests from outside: the built program, real files, a real HTTP receiver on 127.0.0.1.
//!
//! One test binary, so that it links once. What needs more than a fresh machine has (strace, a mount of its
//! own) is ignored here and run by `.ci/run`.

#[allow(unreachable_pub, dead_code, unused_imports)]
mod support;

mod backlog;
mod bodies;
mod changes;
mod collector;
mod commands;
mod console;
mod datadog;
mod delivery;
mod disk;
mod doctor;
mod durability;
mod explain;
mod fixtures;
mod hostile;
mod hub;
mod intake;
mod isolation;
mod judges;
mod kills;
mod listeners;
mod logs;
mod migrate;
mod operators;
mod otlp;
mod page;
mod priming;
mod problems;
mod receivers;
mod reclaim;
mod reload;
mod rotation;
mod secrets;
mod send_test;
mod shutdown;
mod sidecar;
mod slack;
mod story;
mod tailing;
mod tracing;
mod verify;
mod writers;
