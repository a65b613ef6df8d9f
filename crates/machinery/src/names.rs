//! The forms that names may have (RFC 1035, RFC 1123 and Kubernetes' own), with Kubernetes' own messages.

use rand::RngExt as _;

use crate::{FieldError, FieldErrors};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SEARCH_DOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const RFC1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// A form that a name may be required to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RFC 1123 label: at most 63 lower-case letters, digits and inner dashes.
    DnsLabel,
    /// RFC 1035 label: as [`Form::DnsLabel`], starting with a letter.
    Rfc1035Label,
    /// RFC 1123 labels joined by dots, at most 253 characters.
    Subdomain,
    /// As [`Form::Subdomain`], with underscores within labels and before them: a search domain of a resolver.
    SearchDomain,
    /// `[prefix/]name`: the key of a label, annotation, finalizer and the like.
    QualifiedName,
    /// The value of a label.
    LabelValue,
    /// The name of a container port (an IANA service name).
    PortName,
    /// A key of a ConfigMap or Secret.
    ConfigKey,
    /// The name of an environment variable.
    EnvName,
    /// Anything that fits one segment of a URL path: names of RBAC objects.
    PathSegment,
}

impl Form {
    /// What is wrong with `text`; empty when it has the form.
    pub fn problems(self, text: &str) -> Vec<String> {
        match self {
            Self::DnsLabel => {
                let has_dots = text.contains('.') && text.split('.').all(is_label_shape);
                limited(
                    text,
                    63,
                    is_label_shape(text),
                    if has_dots { "must not contain dots" } else { DNS_LABEL },
                )
            }
            Self::Rfc1035Label => {
                let ok = is_label_shape(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
                limited(text, 63, ok, RFC1035_LABEL)
            }
            Self::Subdomain => limited(text, 253, text.split('.').all(is_label_shape), SUBDOMAIN),
            Self::SearchDomain => limited(text, 253, text.split('.').all(is_search_label), SEARCH_DOMAIN),
            Self::QualifiedName => qualified_name(text),
            Self::LabelValue => {
                in_bytes(limited(text, 63, text.is_empty() || is_qualified_shape(text), LABEL_VALUE))
            }
            Self::PortName => port_name(text),
            Self::ConfigKey => config_key(text),
            Self::EnvName => {
                let ok = !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
                limited(text, usize::MAX, ok, ENV_NAME)
            }
            Self::PathSegment => path_segment(text),
        }
    }

    /// Whether `text` has the form.
    pub fn fits(self, text: &str) -> bool {
        self.problems(text).is_empty()
    }

    /// Checks the value of a field: one error for each problem.
    pub fn check(self, field: &str, text: &str) -> FieldErrors {
        self.problems(text).into_iter().map(|problem| FieldError::invalid(field, text, problem)).collect()
    }

    /// Checks `metadata.name`; the first problem only.
    pub fn check_name(self, name: &str) -> Option<FieldError> {
        self.check("metadata.name", name).into_iter().next()
    }
}

/// Checks `metadata.name` as a DNS-1123 subdomain of at most 253 characters.
pub fn subdomain(name: &str) -> Option<FieldError> {
    Form::Subdomain.check_name(name)
}

/// Checks `metadata.name` as a DNS-1123 label of at most 63 characters.
pub fn dns_label(name: &str) -> Option<FieldError> {
    Form::DnsLabel.check_name(name)
}

/// Checks `metadata.name` as a DNS-1035 label of at most 63 characters.
pub fn rfc1035_label(name: &str) -> Option<FieldError> {
    Form::Rfc1035Label.check_name(name)
}

/// Checks `metadata.name` as one segment of a URL path.
pub fn path_name(name: &str) -> Option<FieldError> {
    Form::PathSegment.check_name(name)
}

/// A name made from `metadata.generateName`: the prefix, cut to 58 characters, and five random ones.
pub fn generate(prefix: &str) -> String {
    // Without vowels and look-alikes, so that no words arise.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rng = rand::rng();
    let random = (0..5).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
    prefix.chars().take(58).chain(random).collect()
}

fn limited(text: &str, limit: usize, shape_fits: bool, shape: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > limit {
        problems.push(format!("must be no more than {limit} characters"));
    }
    if !shape_fits {
        problems.push(shape.to_owned());
    }
    problems
}

/// The keys and values of labels are limited in bytes, Kubernetes says; all others in characters, which are as many.
fn in_bytes(mut problems: Vec<String>) -> Vec<String> {
    for problem in problems.iter_mut().filter(|problem| problem.starts_with("must be no more than ")) {
        *problem = problem.replace(" characters", " bytes");
    }
    problems
}

fn qualified_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                let wrong = in_bytes(Form::Subdomain.problems(prefix)).into_iter();
                problems.extend(wrong.map(|problem| format!("prefix part {problem}")));
            }
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                QUALIFIED
            )];
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_qualified_shape(name) {
        problems.push(format!("name part {QUALIFIED}"));
    }
    problems
}

fn port_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let bytes = text.as_bytes();
    if text.len() > 15 {
        problems.push("must be no more than 15 characters".to_owned());
    }
    if text.is_empty() || !bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !bytes.iter().any(u8::is_ascii_lowercase) {
        problems.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        problems.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        problems.push("must not begin or end with a hyphen".to_owned());
    }
    problems
}

fn config_key(text: &str) -> Vec<String> {
    let ok = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let mut problems = limited(text, 253, ok, CONFIG_KEY);
    if text == "." || text == ".." {
        problems.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        problems.push("must not start with '..'".to_owned());
    }
    problems
}

fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ['/', '%'].into_iter().filter(|c| text.contains(*c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// Whether text is a run of lower-case letters, digits and inner dashes (of any length).
fn is_label_shape(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last()).is_some_and(|(a, b)| inner(*a) && inner(*b));
    ends && bytes.iter().all(|b| inner(*b) || *b == b'-')
}

/// As [`is_label_shape`], with inner underscores and one at the start.
fn is_search_label(text: &str) -> bool {
    let inner = text.strip_prefix('_').unwrap_or(text);
    !inner.starts_with('_') && !inner.ends_with('_') && is_label_shape(&inner.replace('_', "-"))
}

/// Whether text is a run of letters, digits and inner dashes, underscores and dots (of any length).
fn is_qualified_shape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(a, b)| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_domains_may_have_underscores() {
        for text in ["a", "example.com", "_sip._tcp.example.com", "a_b.c", "_a", "a__b"] {
            assert!(Form::SearchDomain.fits(text), "{text}");
        }
        for text in ["", ".", "a.", "_", "__a", "a_", "-a", "_-a", "a_.b", "A.b", "a..b", "a b"] {
            assert!(!Form::SearchDomain.fits(text), "{text}");
        }
    }

    #[test]
    fn accepts_and_refuses_by_form() {
        let check = |form: Form, good: &[&str], bad: &[&str]| {
            for text in good {
                assert_eq!(form.problems(text), Vec::<String>::new(), "{form:?} {text:?}");
            }
            for text in bad {
                assert!(!form.fits(text), "{form:?} {text:?}");
            }
        };
        let long = "a".repeat(64);
        check(Form::DnsLabel, &["a", "0-a"], &["", "-a", "a-", "A", "a.b", &long]);
        check(Form::Rfc1035Label, &["a", "a-0"], &["", "0a", "a.b"]);
        check(Form::Subdomain, &["a.b", "0.a-b", &long], &["", "a..b", ".a", "A", &"a".repeat(254)]);
        check(Form::QualifiedName, &["a", "A_b.c", "x.io/A"], &["", "/a", "x.io/", "X/a", "a/b/c", "a b"]);
        check(Form::LabelValue, &["", "a", "A.b_c"], &["-", "a/", &long]);
        check(Form::PortName, &["http", "0a"], &["", "80", "a--b", "-a", "a-", "A", "a234567890123456"]);
        check(Form::ConfigKey, &["a", ".a", "A_"], &["", ".", "..", "..a", "a/b"]);
        check(Form::EnvName, &["A", "a.b c"], &["", "a=b", "é"]);
        check(Form::PathSegment, &["system:node", "a b"], &[".", "..", "a/b", "%"]);
    }

    #[test]
    fn words_problems_as_kubernetes_does() {
        let check =
            |form: Form, text: &str, wanted: &[&str]| assert_eq!(form.problems(text), wanted, "{form:?}");
        let long = "a".repeat(254);
        check(Form::DnsLabel, "a.b", &["must not contain dots"]);
        check(Form::DnsLabel, "A.b", &[DNS_LABEL]);
        check(Form::DnsLabel, &long, &["must be no more than 63 characters"]);
        check(Form::Subdomain, &long, &["must be no more than 253 characters"]);
        check(Form::LabelValue, &long, &["must be no more than 63 bytes"]);
        check(Form::QualifiedName, &long, &["name part must be no more than 63 bytes"]);
        check(Form::QualifiedName, &format!("{long}/a"), &["prefix part must be no more than 253 bytes"]);
        let shape = format!(
            "a valid label key {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        );
        check(Form::QualifiedName, "a/b/c", &[&shape]);
    }

    #[test]
    fn generated_names_keep_a_cut_prefix() {
        let name = generate(&"p".repeat(80));
        assert_eq!(name.len(), 63);
        assert!(name.starts_with(&"p".repeat(58)));
        assert!(Form::DnsLabel.fits(&generate("kubia-")));
    }
}
