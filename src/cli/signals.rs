//! What the system tells a running relay.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals so shortly after one another are one.
const SAME_WISH: Duration = Duration::from_millis(200);

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals that are heard.
pub(super) struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    hang_up: Option<Signal>,
    /// One that came while nobody could reload.
    has_hung_up: bool,
}

impl Signals {
    pub(super) fn new() -> Self {
        let listen =
            |kind| signal(kind).map_err(|error| tracing::warn!(%error, "a signal cannot be heard")).ok();
        Self {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
            hang_up: listen(SignalKind::hangup()),
            has_hung_up: false,
        }
    }

    /// Returns when the process is asked to stop once more. What comes within a moment of the first is the
    /// same wish: `timeout` and shells signal the process and its group.
    pub(super) async fn stop_again(&mut self) {
        tokio::time::sleep(SAME_WISH).await;
        for signal in [&mut self.terminate, &mut self.interrupt].into_iter().flatten() {
            while futures_now(signal.recv()).await {}
        }
        self.stop().await;
    }

    /// Returns when the process is asked to stop. What else is asked is kept for [`Signals::next`].
    pub(super) async fn stop(&mut self) {
        while self.heard().await == Wish::Reload {
            self.has_hung_up = true;
        }
    }

    /// Returns when the process is asked for something.
    pub(super) async fn next(&mut self) -> Wish {
        if std::mem::take(&mut self.has_hung_up) {
            return Wish::Reload;
        }
        self.heard().await
    }

    async fn heard(&mut self) -> Wish {
        async fn heard(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => {
                    signal.recv().await;
                }
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            biased;
            () = heard(&mut self.terminate) => Wish::Stop,
            () = heard(&mut self.interrupt) => Wish::Stop,
            () = heard(&mut self.hang_up) => Wish::Reload,
        }
    }
}

/// Whether a future is ready at once.
async fn futures_now<T>(future: impl Future<Output = Option<T>>) -> bool {
    tokio::select! {
        biased;
        ready = future => ready.is_some(),
        () = std::future::ready(()) => false,
    }
}
