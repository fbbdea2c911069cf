//! The health listener and the admin listener.
//!
//! Both only read. The health listener may be reached by a whole cluster, and tells nothing of events. The admin
//! listener tells who did what: see [`guard`] for who may ask.

mod admin;
mod body;
mod guard;
mod health;
mod listing;
mod login;
mod patience;
mod pulse;
mod serving;
mod vigil;

use std::sync::Arc;

use axum::Router;

use super::Office;
use crate::config::plan::Plan;

pub use guard::Viewer;
pub use vigil::Vigil;

use serving::{Former, Listener};

/// The two listeners of a running relay. A relay works without them: an address that cannot be had is told and
/// tried again.
pub struct Listeners {
    health: Listener,
    admin: Listener,
    health_routes: Router,
    admin_routes: Router,
}

impl Listeners {
    /// Listens as the plan says, and goes on where `vigil` kept the place. To be called within a runtime.
    pub async fn start(office: Arc<Office>, plan: &Plan, vigil: Option<Vigil>) -> Self {
        let (health_routes, admin_routes) = (health::routes(Arc::clone(&office)), admin::routes(office));
        let former = match vigil {
            Some(vigil) => vigil.hand_over(plan.health.listen).await,
            None => Former::Nobody,
        };
        Self {
            health: Listener::start_on("health", plan.health.listen, former, health_routes.clone()),
            admin: Listener::start("admin", plan.admin.listen, admin_routes.clone()),
            health_routes,
            admin_routes,
        }
    }

    /// Listens as another plan says; what is the same goes on undisturbed. Token and `external_url` are asked of
    /// the office with each request.
    pub async fn apply(&mut self, plan: &Plan) {
        let health = (plan.health.listen != self.health.asked()).then_some(plan.health.listen);
        let admin = (plan.admin.listen != self.admin.asked()).then_some(plan.admin.listen);
        // Both before either starts anew: one may take the other's address.
        if health.is_some() {
            self.health.stop().await;
        }
        if admin.is_some() {
            self.admin.stop().await;
        }
        if let Some(address) = health {
            self.health = Listener::start("health", address, self.health_routes.clone());
        }
        if let Some(address) = admin {
            self.admin = Listener::start("admin", address, self.admin_routes.clone());
        }
    }

    /// Ends, and leaves the place of the health listener to one who keeps vigil.
    pub async fn into_vigil(mut self) -> Vigil {
        let listen = self.health.asked();
        let (former, ()) = tokio::join!(self.health.hand_over(), self.admin.stop());
        Vigil::keep_on(listen, former)
    }

    /// Ends: takes no new connection, finishes what is asked, or soon.
    pub async fn stop(mut self) {
        tokio::join!(self.health.stop(), self.admin.stop());
    }
}

#[cfg(test)]
mod tests;
