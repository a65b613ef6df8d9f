//! Expressions that select devices, in the Common Expression Language.

use std::sync::LazyLock;

use serde_json::Value;
use skiff_cel::{CompileError, DeclaredType, Environment, Field, Kubernetes, Type};
use skiff_machinery::{FieldError, FieldErrors};

/// Bytes in an expression.
const LONGEST: usize = 10 << 10;
/// What evaluating an expression may cost.
const DEAREST: u64 = 1_000_000;

/// Attributes and capacities of a device together.
const MOST_ATTRIBUTES: u64 = 32;
const LONGEST_DRIVER: u64 = 63;

/// What expressions are about: a device.
static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let by_domain = |values: DeclaredType| {
        let of_one = DeclaredType::map(values, Some(MOST_ATTRIBUTES));
        DeclaredType::map(of_one, Some(MOST_ATTRIBUTES))
    };
    let fields = [
        ("driver", DeclaredType::string(Some(LONGEST_DRIVER), [])),
        ("attributes", by_domain(DeclaredType::any())),
        ("capacity", by_domain(DeclaredType::kubernetes(Kubernetes::Quantity))),
        ("allowMultipleAllocations", DeclaredType::boolean()),
    ];
    let fields = fields.map(|(name, declared)| (name.to_owned(), Field::required(declared)));
    let device = DeclaredType::named_object("kubernetes.DRADevice", fields);
    Environment::builder().variable("device", device).build()
});

/// Checks a selector at `path`.
pub(super) fn check(path: &str, selector: &Value) -> FieldErrors {
    let Some(cel) = selector.get("cel").filter(|cel| cel.is_object()) else {
        return [FieldError::required(format!("{path}.cel"), "")].into();
    };
    let (at, expression) = (format!("{path}.cel.expression"), cel["expression"].as_str().unwrap_or_default());
    if expression.len() > LONGEST {
        return [FieldError::too_long(at, LONGEST)].into();
    }
    let refuse = |why: String| FieldErrors::from([FieldError::invalid(at.as_str(), expression, why)]);
    let program = match ENVIRONMENT.compile(expression) {
        Ok(program) => program,
        Err(CompileError::Invalid(issues)) => return refuse(format!("compilation failed: {issues}")),
        Err(CompileError::Constant(error)) => {
            return refuse(format!("program instantiation failed: {error}"));
        }
    };
    let output = program.output_type();
    if !matches!(output, Type::Bool | Type::Dyn) {
        return refuse(format!("must evaluate to bool or the unknown type, not {output}"));
    }
    if program.estimate().max > DEAREST {
        return [FieldError::forbidden(at, "too complex, exceeds cost limit")].into();
    }
    FieldErrors::new()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::check as checked;
    use crate::shared::testing::texts;

    #[test]
    fn expressions_are_about_a_device() {
        let check = |expression: &str, expected: &[&str]| {
            assert_eq!(texts(checked("s", &json!({"cel": {"expression": expression}}))), expected);
        };
        check(r#"device.driver == "a""#, &[]);
        check(r#"device.attributes["a.example.com"].healthy"#, &[]);
        check(r#"device.capacity["a.example.com"].memory.compareTo(quantity("1Gi")) >= 0"#, &[]);
        check(
            "1",
            &[r#"s.cel.expression: Invalid value: "1": must evaluate to bool or the unknown type, not int"#],
        );
        assert_eq!(texts(checked("s", &json!({}))), ["s.cel: Required value"]);
    }
}
