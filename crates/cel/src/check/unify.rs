//! Which types can stand for which, and what that says of types that are still to be found.

use std::sync::Arc;

use crate::types::Type;

/// What is known of type variables. A question that is answered with no leaves it as it was.
#[derive(Debug, Default)]
pub(super) struct Unifier {
    known: Vec<Option<Type>>,
    /// What changed since the question was put: the variable and what was known of it.
    changes: Vec<(u32, Option<Type>)>,
}

impl Unifier {
    /// A new variable.
    pub(super) fn variable(&mut self) -> Type {
        let number = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        self.known.push(None);
        Type::Variable(number)
    }

    /// As many new variables, for the types of an overload.
    pub(super) fn variables(&mut self, count: u32) -> Vec<Type> {
        (0..count).map(|_| self.variable()).collect()
    }

    fn find(&self, of: &Type) -> Option<&Type> {
        match of {
            Type::Variable(number) => self.known.get(*number as usize)?.as_ref(),
            _ => None,
        }
    }

    fn set(&mut self, variable: &Type, to: Type) {
        if let Type::Variable(number) = variable
            && let Some(place) = self.known.get_mut(*number as usize)
        {
            self.changes.push((*number, place.replace(to)));
        }
    }

    /// Whether a value of one type can stand for one of the other; if so, what that says of variables is kept.
    pub(super) fn assignable(&mut self, one: &Type, another: &Type) -> bool {
        self.attempt(|this| this.assigns(one, another))
    }

    /// The same for several values at once.
    pub(super) fn all_assignable(&mut self, ones: &[Type], others: &[Type]) -> bool {
        self.attempt(|this| this.assigns_all(ones, others))
    }

    fn attempt(&mut self, question: impl FnOnce(&mut Self) -> bool) -> bool {
        self.changes.clear();
        let answer = question(self);
        while let Some((number, before)) = if answer { None } else { self.changes.pop() } {
            self.known[number as usize] = before;
        }
        answer
    }

    fn assigns_all(&mut self, ones: &[Type], others: &[Type]) -> bool {
        ones.len() == others.len() && ones.iter().zip(others).all(|(one, another)| self.assigns(one, another))
    }

    fn assigns(&mut self, one: &Type, another: &Type) -> bool {
        if matches!(another, Type::Variable(_)) {
            match self.substitutes(one, another) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if matches!(one, Type::Variable(_)) {
            return self.substitutes(another, one).0;
        }
        match (one, another) {
            (one, another) if one.is_dyn_or_error() || another.is_dyn_or_error() => true,
            (Type::Null, other) | (other, Type::Null) => other.is_nullable(),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(one), Type::List(another)) | (Type::Optional(one), Type::Optional(another)) => {
                self.assigns(one, another)
            }
            (Type::Map(key, value), Type::Map(other_key, other_value)) => {
                self.assigns(key, other_key) && self.assigns(value, other_value)
            }
            (one, another) => one == another,
        }
    }

    /// Whether `variable`, or what is known of it, can be `of`; and whether anything was known of it.
    fn substitutes(&mut self, of: &Type, variable: &Type) -> (bool, bool) {
        if of == variable {
            return (true, true);
        }
        if let Some(known) = self.find(variable).cloned() {
            if *of == known {
                return (true, true);
            }
            if !self.assigns(of, &known) {
                return (false, true);
            }
            let general = most_general(of, &known);
            if !self.refers(variable, &general) {
                self.set(variable, general);
            }
            return (true, true);
        }
        if self.refers(variable, of) {
            return (false, false);
        }
        self.set(variable, of.clone());
        (true, false)
    }

    /// Whether `variable` occurs in a type.
    fn refers(&self, variable: &Type, within: &Type) -> bool {
        if variable == within {
            return true;
        }
        match within {
            Type::Variable(_) => self.find(within).is_some_and(|known| self.refers(variable, known)),
            Type::List(inner) | Type::Optional(inner) | Type::Type(inner) => self.refers(variable, inner),
            Type::Map(key, value) => self.refers(variable, key) || self.refers(variable, value),
            _ => false,
        }
    }

    /// A type with what is known of its variables; `dynamic` says what becomes of the others.
    pub(super) fn resolve(&self, of: &Type, dynamic: bool) -> Type {
        let part = |inner: &Type| Arc::new(self.resolve(inner, dynamic));
        match of {
            Type::Variable(_) => match self.find(of) {
                Some(known) => self.resolve(known, dynamic),
                None if dynamic => Type::Dyn,
                None => of.clone(),
            },
            Type::List(inner) => Type::List(part(inner)),
            Type::Optional(inner) => Type::Optional(part(inner)),
            Type::Type(inner) => Type::Type(part(inner)),
            Type::Map(key, value) => Type::Map(part(key), part(value)),
            plain => plain.clone(),
        }
    }
}

/// The type of an overload with its variables replaced.
pub(super) fn instantiate(of: &Type, variables: &[Type]) -> Type {
    let part = |inner: &Type| Arc::new(instantiate(inner, variables));
    match of {
        Type::Variable(number) => variables.get(*number as usize).cloned().unwrap_or(Type::Dyn),
        Type::List(inner) => Type::List(part(inner)),
        Type::Optional(inner) => Type::Optional(part(inner)),
        Type::Type(inner) => Type::Type(part(inner)),
        Type::Map(key, value) => Type::Map(part(key), part(value)),
        plain => plain.clone(),
    }
}

/// Of two types that go together, the one that says less.
pub(super) fn most_general(one: &Type, another: &Type) -> Type {
    if is_more_general(one, another) { one.clone() } else { another.clone() }
}

fn is_more_general(one: &Type, another: &Type) -> bool {
    match (one, another) {
        (Type::Dyn | Type::Variable(_), _) => true,
        (_, Type::Dyn | Type::Variable(_)) => false,
        (Type::List(one), Type::List(another)) | (Type::Optional(one), Type::Optional(another)) => {
            is_more_general(one, another)
        }
        (Type::Map(key, value), Type::Map(other_key, other_value)) => {
            is_more_general(key, other_key) && is_more_general(value, other_value)
        }
        (Type::Type(_), Type::Type(_)) => true,
        (one, another) => one == another,
    }
}
