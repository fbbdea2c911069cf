//! How a sentence begins: the verb, and what it was done to.

use super::effects::thing;
use super::order::{Moved, Order};
use super::phrase::Line;
use super::states::Rollout;
use super::units::{Net, Unit, Units, Was};
use super::words::{count, list, name, ordinal, switch, with_article};
use super::{Role, Tone};
use crate::event::EntityKind;

/// The flag, segment, namespace or token of a story, by its key as far as known.
pub(super) type Owner = (EntityKind, Option<String>);

/// Verb and object, and what they leave to be said.
pub(super) struct Opening {
    pub(super) tone: Tone,
    pub(super) pieces: Vec<(Role, String)>,
    /// Follows the place: ` with 2 variants`, ` and back OFF`.
    pub(super) with: String,
    /// What the parts need not say again.
    pub(super) said: Said,
}

/// See [`Opening::said`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    /// That the flag is on or off.
    Switch,
    /// That it is about this text.
    Text(&'static str),
    /// All there is to say of parts that came with what was created.
    Parts,
    /// All.
    All,
}

/// What a story is about.
pub(super) struct Scene<'s, 'a> {
    pub(super) owner: &'s Owner,
    pub(super) units: &'s Units<'a>,
    pub(super) orders: &'s [Order],
}

impl<'s, 'a> Scene<'s, 'a> {
    /// The flag, segment, namespace or token itself, where an event is about it.
    pub(super) fn own(&self) -> Option<&'s Unit<'a>> {
        self.units.all.iter().find(|unit| unit.kind == self.owner.0)
    }

    /// What differs from what it was, or may.
    pub(super) fn changed(&self) -> Vec<&'s Unit<'a>> {
        let is_news = |unit: &&Unit<'_>| !matches!(unit.net(), Net::Same | Net::Back | Net::Passed);
        self.units.all.iter().filter(is_news).collect()
    }

    /// The rollouts of the story by which some get true although the flag is OFF: those of a boolean flag decide
    /// whatever its switch says, which is what everyone else gets.
    pub(super) fn true_while_off(&self) -> Vec<(&'s Unit<'a>, Rollout)> {
        let own = self.own().filter(|own| own.kind == EntityKind::Flag).and_then(Unit::after);
        if own.is_none_or(|flag| flag.raw("enabled").is_some() && flag.truth("enabled") != Some(false)) {
            return Vec::new();
        }
        let rollouts = self.units.all.iter().filter(|unit| unit.kind == EntityKind::Rollout);
        let read = rollouts.filter_map(|unit| Some((unit, unit.after().and_then(Rollout::read)?)));
        read.filter(|(_, rollout)| rollout.gives_true()).collect()
    }

    fn moved(&self) -> Vec<&'s Order> {
        self.orders.iter().filter(|order| order.moved != Moved::Same).collect()
    }

    /// Whether one thing alone is told, which needs no name in each part.
    pub(super) fn is_alone(&self) -> bool {
        let own_kind = self.owner.0;
        let mut parts = self.changed();
        parts.retain(|unit| unit.kind != EntityKind::Distribution);
        let has_shares = self.changed().len() > parts.len();
        let is_new_rule =
            matches!(parts.as_slice(), [rule] if rule.kind == EntityKind::Rule && rule.net() == Net::Created);
        let own = parts.iter().filter(|unit| unit.kind == own_kind).count();
        let others = parts.len() - own + usize::from(has_shares && !is_new_rule) + self.moved().len();
        others + usize::from(own > 0) <= 1
    }

    /// `flag`, `segment`, `API token`.
    fn noun(&self) -> &'static str {
        match self.owner.0 {
            EntityKind::Token => "API token",
            kind => kind.as_str(),
        }
    }

    /// Appends the key, after `noun ` where that is wanted.
    fn subject(&self, pieces: &mut Vec<(Role, String)>, with_noun: bool) {
        let noun = self.noun();
        match &self.owner.1 {
            Some(key) => {
                if with_noun {
                    pieces.push((Role::Plain, format!("{noun} ")));
                }
                pieces.push((Role::Subject, name(key).into_owned()));
            }
            None => pieces.push((Role::Plain, with_article(noun))),
        }
    }

    fn opening(&self, tone: Tone, verb: &str, with_noun: bool) -> Opening {
        let mut pieces = vec![(Role::Plain, format!("{verb} "))];
        self.subject(&mut pieces, with_noun);
        Opening { tone, pieces, with: String::new(), said: Said::Nothing }
    }

    /// Verb and object of the whole story.
    pub(super) fn open(&self) -> Opening {
        if let Some(opening) = self.own().and_then(|own| self.of_own(own)) {
            return opening;
        }
        let (changed, moved) = (self.changed(), self.moved());
        let mut kinds: Vec<EntityKind> = changed.iter().map(|unit| unit.kind).collect();
        kinds.sort();
        kinds.dedup();
        match (kinds.as_slice(), changed.as_slice(), moved.as_slice()) {
            ([], _, []) => self.unchanged(),
            ([], _, [order]) => self.of_order(order),
            ([EntityKind::Distribution], shares, []) => {
                let is_set = shares.iter().all(|unit| unit.net() == Net::Set);
                self.opening(
                    Tone::Split,
                    if is_set { "set the split of" } else { "changed the split of" },
                    false,
                )
            }
            ([EntityKind::Distribution, EntityKind::Rule], all, []) => {
                let rules: Vec<_> = all.iter().filter(|unit| unit.kind == EntityKind::Rule).collect();
                match rules.as_slice() {
                    [rule] => self.of_part(rule),
                    _ => self.opening(Tone::Rollout, "changed the rules of", false),
                }
            }
            ([EntityKind::Constraint, EntityKind::Segment], _, _) => self.who_is_in(),
            ([EntityKind::Constraint], several, _) if several.len() > 1 => self.who_is_in(),
            (_, [one], []) => self.of_part(one),
            ([kind], _, []) => {
                let tone = if *kind == EntityKind::Variant { Tone::Other } else { Tone::Rollout };
                self.opening(tone, &format!("changed the {}s of", kind.as_str()), false)
            }
            _ => {
                let has = |kind| kinds.contains(&kind);
                let tone = match () {
                    () if has(EntityKind::Rollout) || has(EntityKind::Rule) => Tone::Rollout,
                    () if has(EntityKind::Distribution) => Tone::Split,
                    () => Tone::Other,
                };
                self.opening(tone, "changed", self.owner.0 != EntityKind::Flag)
            }
        }
    }

    fn who_is_in(&self) -> Opening {
        self.opening(Tone::Segment, "changed who is in", true)
    }

    /// Where what happened to the flag, segment, namespace or token itself is the story.
    fn of_own(&self, own: &Unit<'_>) -> Option<Opening> {
        let access = |tone| if self.owner.0 == EntityKind::Token { Tone::Access } else { tone };
        Some(match own.net() {
            _ if own.was_recreated && own.is.is_some() => {
                let with = " and created it again".to_owned();
                Opening { with, ..self.opening(access(Tone::Deleted), "deleted", true) }
            }
            Net::Created => {
                let with = self.children();
                let said = if with.is_empty() { Said::Nothing } else { Said::Parts };
                Opening { with, said, ..self.opening(access(Tone::Other), "created", true) }
            }
            Net::Deleted => {
                Opening { said: Said::Parts, ..self.opening(access(Tone::Deleted), "deleted", true) }
            }
            Net::Passed => {
                let with = " and deleted it again".to_owned();
                Opening { with, said: Said::All, ..self.opening(access(Tone::Deleted), "created", true) }
            }
            Net::Changed | Net::Back if own.kind == EntityKind::Flag => return self.switched(own),
            _ => return None,
        })
    }

    /// `turned checkout ON`.
    fn switched(&self, flag: &Unit<'_>) -> Option<Opening> {
        let is_on = |state: Option<&crate::flipt::Fields<'_>>| {
            state.map(|state| state.truth("enabled") == Some(true))
        };
        let (old, new) = (is_on(flag.before())?, is_on(flag.after())?);
        let was_moved = flag.moved.iter().any(|field| field == "enabled");
        let is_back = old == new && was_moved && self.changed().is_empty() && self.moved().is_empty();
        if old == new && !is_back {
            return None;
        }
        let turned = !old;
        let tone = match new {
            true => Tone::On,
            false if self.true_while_off().is_empty() => Tone::Off,
            false => Tone::Rollout,
        };
        let mut opening = self.opening(tone, "turned", false);
        opening.pieces.push((Role::Plain, " ".to_owned()));
        opening.pieces.push((Role::Value, switch(turned).to_owned()));
        if is_back {
            opening.with = format!(" and back {}", switch(old));
        }
        Some(Opening { said: Said::Switch, ..opening })
    }

    /// ` with 2 variants and a rule for segment beta`.
    fn children(&self) -> String {
        let created = |kind| {
            let units = self.units.all.iter();
            units.filter(move |unit| unit.kind == kind && unit.net() == Net::Created).collect::<Vec<_>>()
        };
        let said = |kind: EntityKind| match created(kind).as_slice() {
            [] => None,
            [one] if kind == EntityKind::Rule => Some(format!("a {}", thing(one))),
            [one] if kind == EntityKind::Variant => Some(thing(one)),
            [_] => Some(with_article(kind.as_str())),
            several => Some(count(several.len() as u64, kind.as_str())),
        };
        let kinds = [EntityKind::Variant, EntityKind::Rule, EntityKind::Rollout, EntityKind::Constraint];
        let children: Vec<String> = kinds.into_iter().filter_map(said).collect();
        match children.is_empty() {
            true => String::new(),
            false => format!(" with {}", list(&children, children.len(), "and", children.len())),
        }
    }

    /// Saved as it was, or changed back to it.
    fn unchanged(&self) -> Opening {
        let Some(unit) = self.units.all.first() else {
            let noun = self.orders.first().map_or("rule", |order| order.kind.as_str());
            return self.opening(Tone::Text, &format!("saved the order of the {noun}s of"), false);
        };
        let mut opening = self.of_part(unit);
        let came_back = |unit: &Unit<'_>| matches!(unit.net(), Net::Back | Net::Passed);
        if self.units.all.iter().any(came_back) {
            opening.with =
                if unit.net() == Net::Passed { " and deleted it again" } else { " and back" }.to_owned();
            opening.said = Said::All;
        }
        opening
    }

    /// `moved the rule for segment beta of checkout from 2nd to 1st place`.
    fn of_order(&self, order: &Order) -> Opening {
        match &order.moved {
            Moved::One { thing, from, to } => {
                let mut opening = self.opening(Tone::Rollout, &format!("moved {thing} of"), true);
                let places = format!(" from {} to {} place", ordinal(*from), ordinal(*to));
                opening.pieces.push((Role::Plain, places));
                opening
            }
            _ => self.opening(Tone::Rollout, &format!("reordered the {}s of", order.kind.as_str()), false),
        }
    }

    /// One thing alone.
    fn of_part(&self, unit: &Unit<'_>) -> Opening {
        let net = unit.net();
        if net == Net::Changed
            && let Some(opening) = self.of_text(unit)
        {
            return opening;
        }
        let is_saved = matches!(net, Net::Set | Net::Same);
        let tone = |tone| if is_saved { Tone::Text } else { tone };
        let part = |thing: &str| match net {
            Net::Created | Net::Passed => format!("added {} to", with_article(thing)),
            Net::Deleted if matches!(unit.was, Was::Unknown) => format!("deleted {} of", with_article(thing)),
            Net::Deleted => format!("deleted the {thing} of"),
            Net::Changed | Net::Back => format!("changed the {thing} of"),
            Net::Set | Net::Same => format!("saved the {thing} of"),
        };
        match unit.kind {
            EntityKind::Distribution if is_saved => self.opening(Tone::Text, "saved the split of", false),
            EntityKind::Distribution => self.opening(Tone::Split, "changed the split of", false),
            EntityKind::Constraint if is_saved => self.opening(Tone::Text, "saved a constraint of", true),
            EntityKind::Constraint => self.who_is_in(),
            EntityKind::Segment if net == Net::Changed => {
                let is_match = unit.differences().fields.iter().any(|field| field == "match_type");
                if is_match { self.who_is_in() } else { self.opening(Tone::Segment, "changed", true) }
            }
            EntityKind::Rollout if net == Net::Deleted => {
                self.opening(Tone::Rollout, "deleted a rollout of", false)
            }
            EntityKind::Rollout if is_saved => self.opening(Tone::Text, "saved a rollout of", false),
            EntityKind::Rollout => self.opening(Tone::Rollout, &part("rollout"), false),
            EntityKind::Rule if thing(unit) == "rule" && net != Net::Created => {
                let verb = part("rule").replace(" the ", " a ");
                self.opening(tone(Tone::Rollout), &verb, false)
            }
            EntityKind::Rule => {
                let with_noun = !matches!(net, Net::Created | Net::Passed);
                self.opening(tone(Tone::Rollout), &part(&thing(unit)), with_noun)
            }
            EntityKind::Variant => {
                let key = self.key_of(unit);
                let tone = if net == Net::Deleted { Tone::Deleted } else { tone(Tone::Other) };
                let verb = match (net, key) {
                    (_, None) => part("variant").replace(" the ", " a "),
                    (Net::Created | Net::Passed, Some(key)) => format!("added variant {key} to"),
                    (Net::Deleted, Some(key)) => format!("deleted variant {key} of"),
                    (Net::Changed | Net::Back, Some(key)) => format!("changed variant {key} of"),
                    (Net::Set | Net::Same, Some(key)) => format!("saved variant {key} of"),
                };
                self.opening(tone, &verb, false)
            }
            EntityKind::Namespace if net == Net::Changed => self.of_protection(unit),
            EntityKind::Flag => {
                self.opening(tone(Tone::Other), if is_saved { "saved" } else { "changed" }, false)
            }
            EntityKind::Token => self.opening(Tone::Access, if is_saved { "saved" } else { "changed" }, true),
            _ => self.opening(tone(Tone::Other), if is_saved { "saved" } else { "changed" }, true),
        }
    }

    /// The key of a variant, as its event or its id tells.
    fn key_of(&self, unit: &Unit<'_>) -> Option<String> {
        let state = unit.before().filter(|state| state.text("key").is_some()).unwrap_or_else(|| unit.any());
        let known = || self.units.variants.get(unit.id()).cloned();
        state.text("key").map(std::borrow::Cow::into_owned).or_else(known).map(|key| name(&key).into_owned())
    }

    /// Names and descriptions alone.
    fn of_text(&self, unit: &Unit<'_>) -> Option<Opening> {
        let fields = &unit.differences().fields;
        let what = match unit.kind {
            EntityKind::Variant => format!("variant {} of", self.key_of(unit)?),
            EntityKind::Rollout => "a rollout of".to_owned(),
            _ => String::new(),
        };
        let is_part = !what.is_empty();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (verb, said) = match fields.as_slice() {
            ["name"] => (format!("renamed {what}"), Said::Text("name")),
            ["description"] => (format!("edited the description of {what}"), Said::Text("description")),
            ["key"] => (format!("changed the key of {what}"), Said::Text("key")),
            ["description", "name"] => (format!("edited {what}"), Said::Nothing),
            _ => return None,
        };
        let tone = if said == Said::Text("key") { Tone::Other } else { Tone::Text };
        let with_noun = !is_part && self.owner.0 != EntityKind::Flag;
        Some(Opening { said, ..self.opening(tone, verb.trim_end(), with_noun) })
    }

    fn of_protection(&self, unit: &Unit<'_>) -> Opening {
        let fields = &unit.differences().fields;
        if !fields.iter().any(|field| field == "protected") {
            return self.opening(Tone::Other, "changed", true);
        }
        let is_protected = unit.any().truth("protected") == Some(true);
        let verb = if is_protected { "protected" } else { "lifted the protection of" };
        Opening { said: Said::Text("protected"), ..self.opening(Tone::Access, verb, true) }
    }
}

impl Opening {
    pub(super) fn write(&self, line: &mut Line) {
        for (role, piece) in &self.pieces {
            line.add(*role, piece);
        }
    }
}
