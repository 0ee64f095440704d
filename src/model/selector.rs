use std::collections::BTreeMap;

/// A Kubernetes label selector: all requirements must hold; none = everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(pub Vec<Requirement>);

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What its value must satisfy.
    pub operator: Operator,
}

/// What a label's value must satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The label is present with one of these values.
    In(Vec<String>),
    /// The label is absent or has none of these values.
    NotIn(Vec<String>),
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Selector {
    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|Requirement { key, operator }| {
            let value = labels.get(key);
            match operator {
                Operator::In(values) => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_follow_kubernetes() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        let holds = |key: &str, operator| {
            Selector(vec![Requirement {
                key: key.to_owned(),
                operator,
            }])
            .matches(&labels)
        };
        assert!(Selector::default().matches(&labels));
        assert!(holds("tier", Operator::In(vec!["db".into(), "web".into()])));
        assert!(!holds("tier", Operator::NotIn(vec!["web".into()])));
        assert!(
            holds("zone", Operator::NotIn(vec!["web".into()])),
            "an absent label is not in any set"
        );
        assert!(!holds("zone", Operator::In(vec!["web".into()])));
        assert!(holds("tier", Operator::Exists) && !holds("zone", Operator::Exists));
        assert!(holds("zone", Operator::DoesNotExist) && !holds("tier", Operator::DoesNotExist));
    }
}
