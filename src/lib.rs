//! `audit-relay` carries the audit events of a [Flipt](https://flipt.io) v1 server to where people
//! look, and loses none on the way.
//!
//! The rooms of the house, from the ground floor up; a lower floor knows nothing of a higher one:
//!
//! * [`event`]: records and what every room calls them (id, sequence, order key);
//! * [`flipt`]: all that is Flipt's own: framings, versions, the shape of each payload;
//! * [`signing`]: how requests are signed, and how a signature is checked;
//! * [`journal`]: the ordered, durable log of records, one SQLite database;
//! * `client`: how HTTP clients are made; [`telemetry`]: how the relay tells what it does: logs, spans, instruments, OTLP;
//! * [`source`]: where records enter; [`routing`]: which of them go where;
//! * [`destination`]: what a destination is (two pure functions and its limits), one folder a kind;
//! * [`delivery`]: a plan made into destinations, the lane of each, retries, the one sender;
//! * [`priming`]: what Flipt's own API tells at start, asked by that sender;
//! * [`config`]: what may be written in the configuration, and the plan that it means;
//! * [`admin`]: what operators may ask of a relay, the control socket and the listeners by which they ask;
//! * [`doctor`]: what Flipt itself does wrong; [`problems`]: tells people of what needs them;
//! * [`migrate`]: our configuration for a Flipt that used its own webhook sink;
//! * [`relay`]: runs a plan; [`cli`]: one file for each subcommand.
#![forbid(unsafe_code)]

pub mod admin;
pub mod cli;
mod client;
pub mod config;
pub mod delivery;
pub mod destination;
pub mod doctor;
pub mod event;
pub mod flipt;
pub mod journal;
pub mod migrate;
pub mod priming;
pub mod problems;
pub mod relay;
pub mod routing;
pub mod signing;
pub mod source;
pub mod telemetry;
