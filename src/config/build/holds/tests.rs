use proptest::prelude::*;

use super::never;
use crate::event::RecordKind;
use crate::routing::arbitrary::{conditions, facts};
use crate::routing::{EnvironmentRule, Environments, Pattern};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// What is refused because it can never hold holds for no record that there may be.
    #[test]
    fn what_is_refused_never_holds(conditions in conditions(), seen in facts()) {
        let production = EnvironmentRule { name: "production".into(), namespaces: vec![Pattern::new("prod")] };
        let environments = Environments { fallback: None, rules: vec![production] };
        // Without `record` a route takes events alone.
        let is_asked = !conditions.record.is_empty() || seen.record == RecordKind::Event;
        if let Some(why) = never(&conditions, &environments, false) {
            prop_assert!(!(is_asked && conditions.hold(&seen.facts())), "{why}");
        }
    }
}
