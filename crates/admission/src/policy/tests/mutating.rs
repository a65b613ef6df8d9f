//! Policies that change objects.

use super::*;

fn mutated(specs: &[(&str, Value)], attributes: Attributes) -> (Result<(), Refusal>, Attributes) {
    let plugin = MutatingPolicies::new(surroundings(), Arc::new(Stored));
    let policies =
        specs.iter().map(|(name, spec)| Arc::new(MutatingPolicy::compile(&policy(name, spec.clone()))));
    let bindings = specs.iter().map(|(name, _)| binding(name, json!({})));
    plugin.set(policies.collect(), bindings.collect());
    admitted(Arc::new(plugin), attributes)
}

fn json_patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

fn configuration(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

#[test]
fn mutations_change_objects() {
    let check = |mutation: Value, expected: Value| {
        let (result, attributes) = mutated(&[("p", json!({"mutations": [mutation]}))], request());
        assert_eq!(result, Ok(()), "{mutation}");
        let object = attributes.object.unwrap();
        assert_eq!(object.get(&["spec"]), Some(&expected), "{mutation}");
    };
    check(
        json_patch("[JSONPatch{op: 'add', path: '/spec/a', value: object.metadata.name}]"),
        json!({"a": "web", "defaulted": true}),
    );
    check(
        json_patch("[JSONPatch{op: 'add', path: '/spec/' + jsonpatch.escapeKey('a/b'), value: 1}]"),
        json!({"a/b": 1, "defaulted": true}),
    );
    check(
        json_patch(
            "[JSONPatch{op: 'test', path: '/spec/a', value: 1}, JSONPatch{op: 'add', path: '/spec/a', value: 2}]",
        ),
        json!({"defaulted": true}),
    );
    check(
        json_patch("[JSONPatch{op: 'add', path: '/spec/nodeSelector', value: {'a': 'b'}}]"),
        json!({"nodeSelector": {"a": "b"}, "defaulted": true}),
    );
    check(
        configuration(
            "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'a', image: 'i'}]}}",
        ),
        json!({"containers": [{"name": "a", "image": "i"}], "defaulted": true}),
    );
    check(configuration("Object{metadata: Object.metadata{labels: {'a': 'b'}}}"), json!({"defaulted": true}));
}

#[test]
fn mutations_that_fail_are_told_of() {
    let check = |spec: Value, code: i32, reason: &str, expected: &str| {
        let (result, _) = mutated(&[("p", spec.clone())], request());
        let refusal = result.unwrap_err();
        assert_eq!(refusal.message, expected, "{spec}");
        assert_eq!((refusal.code, refusal.reason.as_str()), (code, reason));
    };
    let denied = |why: &str| format!("policy 'p' with binding 'b' denied request: {why}");
    let mutation = |mutation: Value| json!({"mutations": [mutation]});
    check(
        mutation(json_patch("[JSONPatch{op: 'remove', path: '/spec/x'}]")),
        403,
        "Invalid",
        &denied(
            "JSON Patch: error in remove for path: '/spec/x': Unable to remove nonexistent key: x: missing value",
        ),
    );
    check(
        mutation(json_patch("object.x")),
        403,
        "Invalid",
        &denied("must evaluate to list(JSONPatch) but got dyn"),
    );
    check(
        mutation(configuration("Object{spec: Object.spec{tolerations: []}}")),
        403,
        "Invalid",
        &denied(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.tolerations",
        ),
    );
    check(
        mutation(configuration("Object{spec: Object.spec{nothing: 1}}")),
        403,
        "Invalid",
        &denied(
            "error applying patch: failed to convert patch object to typed object: .spec.nothing: field not declared in schema",
        ),
    );
    check(
        mutation(configuration("Object{spec: Object.wrong{}}")),
        403,
        "Invalid",
        &denied(
            "type mismatch: unexpected type name \"Object.wrong\", expected \"Object.spec\", which matches field name path from root Object type",
        ),
    );
    check(
        mutation(json_patch("[JSONPatch{op: 'add', path: '/drop', value: 1}]")),
        500,
        "InternalError",
        "Internal error occurred: strict decoding error: unknown field \"drop\"",
    );
    let conditions = json!([{"name": "c", "expression": "object.x == 1"}]);
    check(
        json!({"matchConditions": conditions, "mutations": [json_patch("[]")]}),
        403,
        "Invalid",
        &denied("expression 'object.x == 1' resulted in error: no such key: x"),
    );
    check(
        json!({"paramKind": {"apiVersion": "x/v1", "kind": "Strange"}, "mutations": [json_patch("[]")]}),
        403,
        "Forbidden",
        "policy \"p\" denied request: failed to configure policy: failed to find resource referenced by paramKind: 'x/v1, Kind=Strange'",
    );
    let ignored = json!({"failurePolicy": "Ignore", "mutations": [json_patch("[JSONPatch{op: 'remove', path: '/spec/x'}]")]});
    assert_eq!(mutated(&[("p", ignored)], request()).0, Ok(()));
}

#[test]
fn a_policy_sees_again_what_others_changed_after_it() {
    let grow = "[JSONPatch{op: 'add', path: '/spec/seen', value: (has(object.spec.seen) ? object.spec.seen : 0) + 1}]";
    let check = |reinvocation: &str, other: &str, expected: i64| {
        let first = json!({"reinvocationPolicy": reinvocation, "mutations": [json_patch(grow)]});
        let second = json!({"mutations": [json_patch(other)]});
        let (result, attributes) = mutated(&[("a", first), ("b", second)], request());
        assert_eq!(result, Ok(()));
        let object = attributes.object.unwrap();
        assert_eq!(object.get(&["spec", "seen"]), Some(&json!(expected)), "{reinvocation} {other}");
    };
    let change = "[JSONPatch{op: 'add', path: '/spec/other', value: 1}]";
    check("IfNeeded", change, 2);
    check("Never", change, 1);
    // A patch counts as a change, whatever it does.
    check("IfNeeded", "[JSONPatch{op: 'test', path: '/spec/x', value: 1}]", 2);
}

#[test]
fn deletions_are_not_mutated() {
    let mut attributes = request();
    attributes.operation = Operation::Delete;
    attributes.old = attributes.object.take().map(Arc::new);
    let broken = json!({"mutations": [json_patch("nothing")]});
    assert_eq!(mutated(&[("p", broken)], attributes).0, Ok(()));
}
