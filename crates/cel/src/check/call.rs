//! Calls and their overloads.

use crate::library::{self, Function};
use crate::syntax::ast::{Call, Expr, Id, Kind, operator};
use crate::types::Type;
use crate::value::Constant;

use super::unify::instantiate;
use super::{Checker, Reference};

impl Checker<'_> {
    pub(super) fn check_call(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let Kind::Call(call) = &mut expr.kind else { return };
        if call.function == operator::OPTIONAL_SELECT {
            return self.check_optional_select(id, call);
        }
        call.args.iter_mut().for_each(|arg| self.check(arg));
        if let Some(function) = self.namespaced(call) {
            call.target = None;
            function.clone_into(&mut call.function);
        }
        if let Some(target) = &mut call.target {
            self.check(target);
        }
        let name = call.function.strip_prefix('.').unwrap_or(&call.function);
        match library::find(name, self.declarations.mutation) {
            None => self.undeclared(id, &call.function.clone()),
            Some(function) => {
                function.name.clone_into(&mut call.function);
                self.resolve_overload(id, function, call);
            }
        }
    }

    /// The function that target and name are together, like `sets.contains`.
    fn namespaced(&self, call: &Call) -> Option<&'static str> {
        let target = call.target.as_ref()?.qualified_name()?;
        let name = format!("{}.{}", target.trim_start_matches('.'), call.function);
        library::find(&name, self.declarations.mutation).map(|function| function.name)
    }

    fn check_optional_select(&mut self, id: Id, call: &mut Call) {
        let [operand, field] = call.args.as_mut_slice() else { return };
        let Kind::Literal(Constant::String(name)) = &field.kind else { return };
        let result = self.check_field(id, operand, name, true);
        let result = self.unifier.resolve(&result, false);
        self.set_type(id, result);
        self.refer(id, Reference::Overloads(vec!["select_optional_field"]));
    }

    fn resolve_overload(&mut self, id: Id, function: &'static Function, call: &Call) {
        let parts: Vec<&Expr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let args: Vec<Type> = parts.iter().map(|part| self.type_of(part)).collect();
        if matches!(function.name, operator::AND | operator::OR) {
            return self.resolve_logic(id, function, &parts, &args);
        }
        let mut found: Option<(Type, Vec<&'static str>)> = None;
        for overload in &function.overloads {
            if overload.member != call.target.is_some() || overload.args.len() != args.len() {
                continue;
            }
            let variables = self.unifier.variables(overload.variables);
            let candidates: Vec<Type> =
                overload.args.iter().map(|arg| instantiate(arg, &variables)).collect();
            if !self.unifier.all_assignable(&args, &candidates) {
                continue;
            }
            let result = self.unifier.resolve(&instantiate(&overload.result, &variables), false);
            match &mut found {
                None => found = Some((result, vec![overload.id])),
                Some((of, ids)) => {
                    ids.push(overload.id);
                    if *of != Type::Dyn && *of != result {
                        *of = Type::Dyn;
                    }
                }
            }
        }
        match found {
            Some((result, ids)) => {
                self.set_type(id, result);
                self.refer(id, Reference::Overloads(ids));
            }
            None => {
                let mut shown = args.iter().map(|arg| self.unifier.resolve(arg, true).to_string());
                let target = if call.target.is_some() {
                    format!("{}.", shown.next().unwrap_or_default())
                } else {
                    String::new()
                };
                let shown: Vec<String> = shown.collect();
                let message = format!(
                    "found no matching overload for '{}' applied to '{target}({})'",
                    function.name,
                    shown.join(", ")
                );
                self.report(id, message);
                self.set_type(id, Type::Error);
            }
        }
    }

    /// `&&` and `||` say which of their sides is wrong.
    fn resolve_logic(&mut self, id: Id, function: &'static Function, parts: &[&Expr], args: &[Type]) {
        let mut result = Type::Bool;
        for (part, of) in parts.iter().zip(args) {
            if !self.unifier.assignable(of, &Type::Bool) {
                self.mismatch(part.id, &Type::Bool, of);
                result = Type::Error;
            }
        }
        self.set_type(id, result);
        self.refer(id, Reference::Overloads(function.overloads.iter().map(|overload| overload.id).collect()));
    }
}
