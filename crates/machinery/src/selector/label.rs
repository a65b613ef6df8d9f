//! Label selectors: equality-based and set-based requirements, joined by commas.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::NodeSelectorRequirement;
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde::Deserialize as _;
use serde_json::Value;
use thiserror::Error;

use crate::names::Form;

/// How a requirement compares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LabelOperator {
    /// `k in (a,b)`, `k=a`, `k==a`: the label is there with one of the values.
    In(Vec<String>),
    /// `k notin (a,b)`, `k!=a`: the label is not there, or has another value.
    NotIn(Vec<String>),
    /// `k`: the label is there.
    Exists,
    /// `!k`: the label is not there.
    DoesNotExist,
    /// `k>1`: the label is an integer above.
    GreaterThan(i64),
    /// `k<1`: the label is an integer below.
    LessThan(i64),
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelRequirement {
    /// The label's key.
    pub key: String,
    /// What is asked of it.
    pub operator: LabelOperator,
}

/// Requirements that must all hold; none at all selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    requirements: Vec<LabelRequirement>,
}

/// A selector that cannot be understood, in Kubernetes' words.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct LabelSelectorError(String);

impl LabelSelector {
    /// Reads the text of a query parameter; empty text selects everything.
    pub fn parse(text: &str) -> Result<Self, LabelSelectorError> {
        Parser { tokens: tokens(text), at: 0 }.selector().map_err(LabelSelectorError)
    }

    /// Requires every given label to have the given value: `spec.selector` of a Service.
    pub fn all_of<K: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (K, V)>) -> Self {
        let equals =
            |(k, v): (K, V)| LabelRequirement { key: k.into(), operator: LabelOperator::In(vec![v.into()]) };
        Self { requirements: labels.into_iter().map(equals).collect() }
    }

    /// Requires all of these.
    pub fn of(requirements: Vec<LabelRequirement>) -> Self {
        Self { requirements }
    }

    /// The requirements, in the order in which they were written.
    pub fn requirements(&self) -> &[LabelRequirement] {
        &self.requirements
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<&str, &str>) -> bool {
        self.matches_by(|key| labels.get(key).copied())
    }

    /// Whether an object is selected of whose labels `value` tells, by key.
    pub fn matches_by<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|r| r.matches(value(&r.key)))
    }

    /// As [`Self::matches`], of labels as objects own them.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }
}

impl TryFrom<&v1::LabelSelector> for LabelSelector {
    type Error = LabelSelectorError;

    /// A selector as objects have it (`metav1.LabelSelector`). An operator that is none is an error; keys and values are not checked.
    fn try_from(selector: &v1::LabelSelector) -> Result<Self, LabelSelectorError> {
        let equal = selector.match_labels.iter().flatten().map(|(key, value)| {
            Ok(LabelRequirement { key: key.clone(), operator: LabelOperator::In(vec![value.clone()]) })
        });
        let expressions = selector.match_expressions.iter().flatten().map(|expression| {
            let operator = LabelOperator::of(&expression.operator, expression.values.as_deref());
            let other = || {
                let operator = &expression.operator;
                LabelSelectorError(format!("{operator:?} is not a valid label selector operator"))
            };
            Ok(LabelRequirement { key: expression.key.clone(), operator: operator.ok_or_else(other)? })
        });
        equal.chain(expressions).collect::<Result<_, _>>().map(Self::of)
    }
}

impl TryFrom<&Value> for LabelSelector {
    type Error = LabelSelectorError;

    /// The same, read from a part of an object; none at all selects everything.
    fn try_from(selector: &Value) -> Result<Self, LabelSelectorError> {
        let read = Option::<v1::LabelSelector>::deserialize(selector);
        let read = read.map_err(|error| LabelSelectorError(error.to_string()))?;
        Self::try_from(&read.unwrap_or_default())
    }
}

impl TryFrom<&NodeSelectorRequirement> for LabelRequirement {
    type Error = LabelSelectorError;

    /// A requirement of a node selector, which knows numbers as well.
    fn try_from(requirement: &NodeSelectorRequirement) -> Result<Self, LabelSelectorError> {
        let NodeSelectorRequirement { key, operator, values } = requirement;
        let bound = || values.as_deref().and_then(|values| values.first()?.parse().ok());
        let operator = match operator.as_str() {
            "Gt" => bound().map(LabelOperator::GreaterThan),
            "Lt" => bound().map(LabelOperator::LessThan),
            other => LabelOperator::of(other, values.as_deref()),
        };
        let operator = operator.ok_or_else(|| {
            LabelSelectorError(format!("{:?} is not a valid node selector operator", requirement.operator))
        })?;
        Ok(Self { key: key.clone(), operator })
    }
}

impl LabelOperator {
    /// An operator of a selector as objects have it; `None` for words that are none.
    fn of(name: &str, values: Option<&[String]>) -> Option<Self> {
        let values = || values.unwrap_or_default().to_vec();
        Some(match name {
            "In" => Self::In(values()),
            "NotIn" => Self::NotIn(values()),
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            _ => return None,
        })
    }
}

impl LabelRequirement {
    /// Whether it holds for a label's value; `None` stands for no such label.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.operator {
            LabelOperator::In(values) => value.is_some_and(|v| values.iter().any(|x| x == v)),
            LabelOperator::NotIn(values) => value.is_none_or(|v| values.iter().all(|x| x != v)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
            LabelOperator::GreaterThan(bound) => number().is_some_and(|n| n > *bound),
            LabelOperator::LessThan(bound) => number().is_some_and(|n| n < *bound),
        }
    }

    fn check(self) -> Result<Self, String> {
        if let Some(problem) = Form::QualifiedName.problems(&self.key).first() {
            return Err(format!("<nil>: Invalid value: {:?}: {problem}", self.key));
        }
        if let LabelOperator::In(values) | LabelOperator::NotIn(values) = &self.operator {
            for (i, value) in values.iter().enumerate() {
                if let Some(problem) = Form::LabelValue.problems(value).first() {
                    return Err(format!("values[{i}][{}]: Invalid value: {value:?}: {problem}", self.key));
                }
            }
        }
        Ok(self)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Symbol(symbol) => f.write_str(symbol),
            Self::End => Ok(()),
        }
    }
}

/// Longest first, so that `==` is not read as two `=`.
const SYMBOLS: &[&str] = &["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            out.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "=!(),><".contains(c)).unwrap_or(rest.len());
            out.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    out
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Token {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn selector(mut self) -> Result<LabelSelector, String> {
        let mut requirements = Vec::new();
        if self.peek() == Token::End {
            return Ok(LabelSelector { requirements });
        }
        match self.peek() {
            Token::Word(_) | Token::Symbol("!") => {}
            other => return Err(format!("found '{other}', expected: !, identifier, or 'end of string'")),
        }
        loop {
            let requirement = self.requirement().and_then(LabelRequirement::check);
            requirements.push(requirement.map_err(|why| format!("unable to parse requirement: {why}"))?);
            match self.next() {
                Token::End => break,
                Token::Symbol(",") => match self.peek() {
                    Token::Word(_) | Token::Symbol("!") => {}
                    other => return Err(format!("found '{other}', expected: identifier after ','")),
                },
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
        // As Kubernetes does: by key, so that equal selectors have one text.
        skiff_ordered::sort_by(&mut requirements, |a, b| a.key.cmp(&b.key));
        Ok(LabelSelector { requirements })
    }

    fn requirement(&mut self) -> Result<LabelRequirement, String> {
        if self.peek() == Token::Symbol("!") {
            self.at += 1;
            let key = self.identifier()?;
            return Ok(LabelRequirement { key, operator: LabelOperator::DoesNotExist });
        }
        let key = self.identifier()?;
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(LabelRequirement { key, operator: LabelOperator::Exists });
        }
        let operator = self.operator()?;
        Ok(LabelRequirement { key, operator })
    }

    fn identifier(&mut self) -> Result<String, String> {
        match self.next() {
            Token::Word(word) => Ok(word),
            other => Err(format!("found '{other}', expected: identifier")),
        }
    }

    fn operator(&mut self) -> Result<LabelOperator, String> {
        match self.next() {
            Token::Word(word) if word == "in" => Ok(LabelOperator::In(self.values()?)),
            Token::Word(word) if word == "notin" => Ok(LabelOperator::NotIn(self.values()?)),
            Token::Symbol("=" | "==") => Ok(LabelOperator::In(vec![self.value()?])),
            Token::Symbol("!=") => Ok(LabelOperator::NotIn(vec![self.value()?])),
            Token::Symbol(">") => Ok(LabelOperator::GreaterThan(self.bound()?)),
            Token::Symbol("<") => Ok(LabelOperator::LessThan(self.bound()?)),
            other => Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    /// The value of an equality; absent means empty.
    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            _ => self.identifier(),
        }
    }

    fn bound(&mut self) -> Result<i64, String> {
        let text = self.identifier()?;
        text.parse().map_err(|_| {
            format!(
                "values[0]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            )
        })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(format!("found '{other}' expected: '('")),
        }
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Token::Word(word) => {
                    self.at += 1;
                    values.push(word);
                }
                // `(,a)`, `(a,)` and `()` contain the empty value.
                Token::Symbol("," | ")") => values.push(String::new()),
                other => return Err(format!("found '{other}', expected: ',', ')' or identifier")),
            }
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => break,
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
        }
        skiff_ordered::sort_by(&mut values, Ord::cmp);
        values.dedup();
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_objects_are_read() {
        let check = |selector: serde_json::Value, expected: bool| {
            let selector: v1::LabelSelector = serde_json::from_value(selector).unwrap();
            let labels = BTreeMap::from([("a", "1")]);
            let selects = LabelSelector::try_from(&selector).map(|selector| selector.matches(&labels));
            assert_eq!(selects.unwrap_or(false), expected, "{selector:?}");
        };
        let expression = |key: &str, operator: &str, values: &[&str]| serde_json::json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        check(serde_json::json!({}), true);
        check(serde_json::json!({"matchLabels": {"a": "1"}}), true);
        check(serde_json::json!({"matchLabels": {"a": "1", "b": "2"}}), false);
        check(expression("a", "In", &["0", "1"]), true);
        check(expression("b", "In", &["1"]), false);
        check(expression("a", "NotIn", &["1"]), false);
        check(expression("b", "NotIn", &["1"]), true);
        check(expression("a", "Exists", &[]), true);
        check(expression("b", "DoesNotExist", &[]), true);
        check(expression("a", "Near", &["1"]), false);
    }

    #[test]
    fn selects_by_labels() {
        let labels = BTreeMap::from([("app", "kubia"), ("tier", "web"), ("n", "5"), ("e", "")]);
        let check = |text: &str, selected: bool| {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.matches(&labels), selected, "{text}");
        };
        check("", true);
        check("app=kubia", true);
        check("app == kubia , tier!=db", true);
        check("app=other", false);
        check("missing!=x", true);
        check("app in (a, kubia)", true);
        check("app notin (a, kubia)", false);
        check("app,!missing", true);
        check("!app", false);
        check("missing", false);
        check("n>4,n<6", true);
        check("app>4", false);
        check("e=", true);
        check("app=", false);
        check("in in (in)", false);
    }

    #[test]
    fn words_errors_as_kubernetes_does() {
        let check = |text: &str, error: &str| {
            let got = LabelSelector::parse(text).unwrap_err().to_string();
            assert!(got.starts_with(error), "{text}: {got}");
        };
        let check_one =
            |text: &str, error: &str| check(text, &format!("unable to parse requirement: {error}"));
        check("a,", "found '', expected: identifier after ','");
        check("=a", "found '=', expected: !, identifier, or 'end of string'");
        check_one("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt");
        check_one("a in b", "found 'b' expected: '('");
        check_one("a in (b", "found '', expected: ',' or ')'");
        check("a=b c", "found 'c', expected: ',' or 'end of string'");
        check_one("a=-", "values[0][a]: Invalid value: \"-\": a valid label");
        check_one("/a", "<nil>: Invalid value: \"/a\": prefix part must be non-empty");
        check_one(
            "a>b",
            "values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
        );
    }
}
