//! The functions that expressions can call: the language's own, cel-go's extensions and Kubernetes' libraries, in the
//! versions that Kubernetes 1.36 has.

pub(crate) mod arithmetic;
pub(crate) mod authorizer;
pub(crate) mod convert;
pub(crate) mod format;
pub(crate) mod formatting;
pub(crate) mod lists;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod number;
pub(crate) mod optional;
pub(crate) mod quantity;
pub(crate) mod regex;
pub(crate) mod semver;
pub(crate) mod sets;
pub(crate) mod signature;
pub(crate) mod strings;
pub(crate) mod times;
pub(crate) mod url;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::error::EvalError;
use crate::types::Type;
use crate::value::{Meter, Value};

pub(crate) type Outcome<'a> = Result<Value<'a>, EvalError>;
/// Computes a call; the target, if there is one, is the first argument.
pub(crate) type Implementation = for<'a> fn(&mut Meter, &[Value<'a>]) -> Outcome<'a>;

/// Functions of a library: a name, its overloads as text, and what computes them.
pub(crate) type Table = &'static [(&'static str, &'static [&'static str], Implementation)];

/// One way to call a function.
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    pub(crate) member: bool,
    /// The target first.
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    /// How many type variables its types have.
    pub(crate) variables: u32,
    pub(crate) implementation: Implementation,
}

/// A function with all its overloads.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) overloads: Vec<Overload>,
}

const TABLES: &[Table] = &[
    arithmetic::FUNCTIONS,
    convert::FUNCTIONS,
    times::FUNCTIONS,
    strings::FUNCTIONS,
    formatting::FUNCTIONS,
    regex::FUNCTIONS,
    lists::FUNCTIONS,
    sets::FUNCTIONS,
    optional::FUNCTIONS,
    url::FUNCTIONS,
    quantity::FUNCTIONS,
    network::FUNCTIONS,
    semver::FUNCTIONS,
    format::FUNCTIONS,
    authorizer::FUNCTIONS,
];

/// For admission that changes objects.
const MUTATION: Table = strings::MUTATION;

static ALL: LazyLock<BTreeMap<&'static str, Function>> = LazyLock::new(|| {
    let mut all = BTreeMap::new();
    for (name, overloads, implementation) in TABLES.iter().chain([&MUTATION]).copied().flatten() {
        let function = all.entry(*name).or_insert_with(|| Function { name, overloads: Vec::new() });
        let read = |text| signature::read(text, *implementation);
        function.overloads.extend(overloads.iter().copied().filter_map(read));
    }
    all
});

/// The function of this name. Those that only mutating admission has are found by it alone.
pub(crate) fn find(name: &str, mutation: bool) -> Option<&'static Function> {
    let only_mutation = MUTATION.iter().any(|(only, ..)| *only == name);
    if only_mutation && !mutation { None } else { ALL.get(name) }
}

/// Two arguments.
pub(crate) fn pair<'v, 'a>(args: &'v [Value<'a>]) -> Result<(&'v Value<'a>, &'v Value<'a>), EvalError> {
    match args {
        [one, another] => Ok((one, another)),
        _ => Err(EvalError::no_such_overload()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_can_be_read_and_has_an_id_of_its_own() {
        let mut ids = std::collections::BTreeSet::new();
        for (name, overloads, implementation) in TABLES.iter().chain([&MUTATION]).copied().flatten() {
            for text in *overloads {
                let overload = signature::read(text, *implementation);
                let overload = overload.unwrap_or_else(|| panic!("{name}: {text}"));
                assert!(ids.insert(overload.id), "{text}");
            }
        }
    }
}
