//! What may be written, and the plan it means.
//!
//! The way of a configuration: YAML becomes a tree that knows its places (`yaml`), included files join
//! it, defaults and environment are laid under and over it (`layers`), our own walk finds everything
//! that is wrong with it at once (`walk`), and what it means becomes a [`plan::Plan`] (`build`).
pub mod plan;
pub mod secret;

mod build;
mod defaults;
mod difference;
mod foreign;
mod include;
mod layers;
mod leaf;
mod load;
mod origins;
mod problem;
mod raw;
mod salvage;
mod scalars;
mod schema;
mod secrets;
mod walk;
mod watch;
mod yaml;

#[cfg(test)]
mod tests;

pub use defaults::shown_defaults;
pub use difference::{Changes, Difference};
pub(crate) use foreign::{Tree, read_tree};
pub(crate) use load::load_text;
pub use load::{DEFAULT_PATH, LoadOptions, Loaded, PATH_VARIABLE, data_dir, load, load_noting};
pub use problem::{Place, Problem, Problems};
pub use salvage::salvage;
pub(crate) use scalars::{LONGEST, address_problem};
pub use schema::published as json_schema;
pub use secrets::References;
pub(crate) use walk::is_header_name;
pub use watch::{Watched, Watcher};
