//! Where pages are put together: what is asked of the office, and how much of that at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::live::Live;
use super::newest::{self, FIRST_LOOK, LAST_LOOK, SHOWN, Told};
use super::question::Question;
use super::view::{ChangesView, StatusView};
use super::way::{Built, Ways};
use super::{paint, view};
use crate::admin::{Office, Refusal, nameless};
use crate::config::plan::Plan;
use crate::delivery::build;
use crate::event::{Sequence, Timestamp};
use crate::journal::{Gaps, JournalError};

/// Pages that look through the journal at the same time; others wait for their turn.
const AT_ONCE: usize = 2;

/// What pages share.
pub(super) struct Desk {
    turns: Semaphore,
    built: Mutex<Option<(Arc<Plan>, Arc<Built>)>>,
    /// Gaps by source, and up to where they are counted.
    gaps: tokio::sync::Mutex<(Sequence, BTreeMap<String, u64>)>,
    pub(super) live: Arc<Live>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(AT_ONCE),
            built: Mutex::default(),
            gaps: Default::default(),
            live: Arc::default(),
        }
    }
}

impl Desk {
    /// The whole page.
    pub(super) async fn page(
        &self,
        office: &Office,
        question: Question,
        sees_names: bool,
    ) -> Result<String, Refusal> {
        let changes = self.listed(office, &question, sees_names).await?;
        let status = self.status(office, sees_names).await?;
        paint::page(&status, &changes, sees_names)
    }

    /// The list of changes.
    pub(super) async fn changes(
        &self,
        office: &Office,
        question: &Question,
        sees_names: bool,
    ) -> Result<String, Refusal> {
        paint::changes(&self.listed(office, question, sees_names).await?)
    }

    pub(super) async fn listed(
        &self,
        office: &Office,
        question: &Question,
        sees_names: bool,
    ) -> Result<ChangesView, Refusal> {
        let told = self.tell(office, question, sees_names).await?;
        Ok(view::changes(question, told, &office.plan()))
    }

    /// Looks further and further back, until there is enough to show.
    async fn tell(&self, office: &Office, question: &Question, sees_names: bool) -> Result<Told, Refusal> {
        let _turn = self.turns.acquire().await;
        let mut look = FIRST_LOOK;
        loop {
            let stretch = newest::read(office, question, look).await?;
            let ways = self.ways(office, stretch.after, u64::MAX >> 1).await?;
            let (is_whole, question) = (stretch.is_whole, question.clone());
            // The relay's one thread has other things to do meanwhile.
            let told = tokio::task::spawn_blocking(move || {
                newest::tell(&stretch, &question, &ways, sees_names, Timestamp::now())
            });
            let told = told.await.map_err(|error| Refusal::failure(error.to_string()))?;
            if is_whole || told.changes.len() >= SHOWN || look >= LAST_LOOK {
                return Ok(told);
            }
            look *= 4;
        }
    }

    /// What is known of the ways of the records after a sequence.
    pub(super) async fn ways(&self, office: &Office, after: u64, through: u64) -> Result<Ways, Refusal> {
        let plan = office.plan();
        Ways::read(office, self.built(&plan), plan, after, through).await
    }

    /// The destinations of a plan; built once.
    fn built(&self, plan: &Arc<Plan>) -> Arc<Built> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, built)) = &*built
            && Arc::ptr_eq(of, plan)
        {
            return Arc::clone(built);
        }
        let destinations = plan.destinations.iter();
        let all = destinations.filter_map(|(name, plan)| Some((name.clone(), build(plan).ok()?)));
        let all: Arc<Built> = Arc::new(all.collect());
        *built = Some((Arc::clone(plan), Arc::clone(&all)));
        all
    }

    /// How everything stands now, as the page shows it.
    pub(super) async fn status(&self, office: &Office, sees_names: bool) -> Result<StatusView, JournalError> {
        let report = office.report(Timestamp::now()).await?;
        let report = if sees_names { report } else { nameless::report(report) };
        let lanes = &office.standing().lanes;
        let minutes = lanes.iter().map(|(name, lane)| (name.clone(), lane.meter.read().minutes)).collect();
        let gaps = self.gaps(office).await?;
        Ok(view::status(&report, &minutes, &gaps))
    }

    async fn gaps(&self, office: &Office) -> Result<BTreeMap<String, u64>, JournalError> {
        let mut known = self.gaps.lock().await;
        let latest = *office.journal().latest().borrow();
        for Gaps { source, count, .. } in office.journal().gaps(known.0, latest).await? {
            *known.1.entry(source).or_default() += count;
        }
        known.0 = known.0.max(latest);
        Ok(known.1.clone())
    }
}
