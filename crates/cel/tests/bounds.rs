//! Nothing that a stranger writes may panic, overflow the stack or take long.

mod common;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::Fixture;
use proptest::prelude::*;
use skiff_cel::{CompileError, Environment, EvalError, limits};

static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);

/// Bytes of a stack on which the deepest expressions must do: half of what threads of a server have. Without
/// optimisation, functions take several times as much.
const STACK: usize = if cfg!(debug_assertions) { 16 << 20 } else { 1 << 20 };

/// Runs on such a stack.
fn on_small_stack(work: fn()) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
    thread.expect("a thread").join().expect("no panic");
}

/// Evaluates an expression, when it compiles, and says how that ended.
fn run(fixture: &Fixture, expression: &str) -> Result<Result<(), EvalError>, CompileError> {
    let program = fixture.environment.compile(expression)?;
    let activation = fixture.activation();
    let evaluation = program.evaluate(&activation, limits::PER_CALL);
    Ok(evaluation.result.and_then(|value| value.to_json().map(drop)))
}

/// What expressions consist of, and some of what they do not.
const WORDS: &[&str] = &[
    "self",
    "oldSelf",
    "any",
    "x",
    "y",
    "int",
    "str",
    "list",
    "names",
    "set",
    "ports",
    "labels",
    "obj",
    "when",
    "wait",
    "missing",
    "true",
    "false",
    "null",
    "in",
    "has",
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
    "optMap",
    "transformMap",
    "sortBy",
    "size",
    "matches",
    "format",
    "orValue",
    "optional",
    "of",
    "none",
    "type",
    "timestamp",
    "duration",
    "quantity",
    "1",
    "0",
    "-1",
    "2u",
    "1.5",
    "9223372036854775807",
    "'a'",
    "'%s'",
    "'('",
    "b'\\xff'",
    "\"",
    "'",
    "`",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ".?",
    "[?",
    "?",
    ":",
    ",",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "&&",
    "||",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "\n",
    "//",
    "\\",
    "é",
    "\0",
];

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(WORDS)
}

/// Expressions that can be read, of any type.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "self.int",
        "self.num",
        "self.str",
        "self.flag",
        "self.list",
        "self.names",
        "self.set",
        "self.ports",
        "self.labels",
        "self.obj",
        "self.when",
        "self.wait",
        "self.missing",
        "any",
        "any.l",
        "any.m",
        "any.i",
        "x",
        "null",
        "1",
        "2u",
        "0.5",
        "'a'",
        "b'a'",
        "[]",
        "{}",
        "true",
        "optional.of(1)",
        "optional.none()",
        "type(1)",
        "self",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(6, 48, 3, |inner| {
        let operator =
            prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        let one = prop::sample::select(vec![
            "{}.size()",
            "!{}",
            "-{}",
            "[{}]",
            "[{}, {}]",
            "{'a': {}}",
            "{}[0]",
            "{}['a']",
            "{}[?0]",
            "{}.?a",
            "{}.a",
            "has({}.a)",
            "{}.map(x, {})",
            "{}.filter(x, {})",
            "{}.all(x, {})",
            "{}.exists(i, x, {})",
            "{}.exists_one(x, {})",
            "{}.transformMap(k, x, {})",
            "{}.transformMapEntry(k, x, {k: {}})",
            "{}.sortBy(x, {})",
            "{}.optMap(x, {})",
            "{}.orValue({})",
            "{}.or({})",
            "dyn({})",
            "string({})",
            "int({})",
            "double({})",
            "uint({})",
            "bytes({})",
            "timestamp({})",
            "duration({})",
            "type({})",
            "{}.matches({})",
            "{}.replace({}, {})",
            "{}.substring({})",
            "{}.split({})",
            "{}.join({})",
            "'%s %d %x'.format({})",
            "{}.sum()",
            "{}.max()",
            "{}.indexOf({})",
            "{}.flatten()",
            "{}.slice(0, {})",
            "lists.range({})",
            "{}.distinct()",
            "sets.contains({}, {})",
            "{}.getHours({})",
            "({} ? {} : {})",
            "url({})",
            "ip({})",
            "cidr({})",
            "quantity({})",
            "semver({})",
            "format.dns1123Label().validate({})",
            "Object{a: {}}",
            "JSONPatch{op: 'add', value: {}}",
            "{}.find({})",
            "{}.charAt({})",
            "{}.last()",
            "[?{}]",
            "{?'a': {}}",
        ]);
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            (one, prop::collection::vec(inner, 3)).prop_map(|(form, parts)| {
                let mut parts = parts.into_iter().cycle();
                let mut pieces = form.split("{}");
                let mut text = pieces.next().unwrap_or_default().to_owned();
                for piece in pieces {
                    text.push_str(&parts.next().unwrap_or_default());
                    text.push_str(piece);
                }
                text
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_or_evaluated(text in ".{0,40}") {
        let _outcome = run(&FIXTURE, &text);
    }

    #[test]
    fn any_words_are_refused_or_evaluated(words in prop::collection::vec(word(), 0..24)) {
        let _outcome = run(&FIXTURE, &words.concat());
        let _outcome = run(&FIXTURE, &words.join(" "));
    }

    #[test]
    fn any_expression_is_evaluated_at_bounded_cost(text in expression()) {
        // The types of a loop's variable are unknown here, so that most expressions fit.
        let loose = format!("[dyn(1), dyn('a'), dyn([2])].map(x, {text})");
        for text in [&text, &loose] {
            let started = Instant::now();
            let _outcome = run(&FIXTURE, text);
            prop_assert!(started.elapsed() < Duration::from_secs(20), "{text}");
        }
    }
}

/// The message of an expression that is too deep or too large.
fn refusal(environment: &Environment, expression: &str) -> String {
    environment.compile(expression).map(|_| "compiled".to_owned()).unwrap_or_else(|error| error.to_string())
}

#[test]
fn depth_is_bounded() {
    on_small_stack(deep_expressions);
}

fn deep_expressions() {
    let fixture = Fixture::new();
    let nested =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let deep = "ERROR: <input>:-1:0: expression recursion limit exceeded: 250";
    let forms = [
        ("(", ")"),
        ("[", "]"),
        ("{1: ", "}"),
        ("size([", "])"),
        ("[1].map(x, ", ")"),
        ("[1].all(x, 1 == ", ")"),
        ("dyn(", ")"),
        ("!(1 == ", ")"),
        ("true ? 1 : ", ""),
        ("optional.of(", ").value()"),
        ("[1].sortBy(x, ", ")"),
        ("[1].exists(i, x, [", "] == x)"),
        ("'%s'.format([", "])"),
        ("[[1], ", "]"),
    ];
    for (open, close) in forms {
        assert_eq!(refusal(&fixture.environment, &nested(open, close, 300)), deep, "{open}");
        // As deep as can be: whether it fits its types or not, it is answered.
        for depth in [200, 240, 248] {
            let _outcome = run(&fixture, &nested(open, close, depth));
        }
    }
    for chain in [".map(x, x)", ".optMap(x, x)", ".a", "[0]", ".orValue(1)", ".filter(x, true)"] {
        let _outcome = run(&fixture, &format!("any{}", chain.repeat(240)));
        // Each `optMap` doubles what is before it: it is too large before it is too deep.
        if !chain.starts_with(".optMap") {
            assert_eq!(refusal(&fixture.environment, &format!("any{}", chain.repeat(400))), deep, "{chain}");
        }
    }
    assert_eq!(refusal(&fixture.environment, &format!("1{}", " + 1".repeat(400))), deep);
    // Chains of these are balanced.
    assert!(matches!(run(&fixture, &format!("true{}", " && true".repeat(9000))), Ok(Ok(()))));
}

#[test]
fn size_is_bounded() {
    let fixture = Fixture::new();
    let long = "1".repeat(100_001);
    let message = "ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100001, limit 100000";
    assert_eq!(refusal(&fixture.environment, &long), message);
    // Each step doubles what is before it.
    let doubling = format!("optional.of(1){}", ".optMap(x, x)".repeat(30));
    assert!(refusal(&fixture.environment, &doubling).contains("expression size exceeds limit"));
}

/// What would double with each step: lists, strings, comparisons, types.
#[test]
fn work_is_bounded() {
    on_small_stack(doubling_expressions);
}

fn doubling_expressions() {
    let fixture = Fixture::new();
    let chain = |start: &str, step: &str, times: usize, end: &str| {
        // The name is given by a loop over one element, whose result is again a list.
        let mut text = start.to_owned();
        for _ in 0..times {
            text = format!("{text}.map(x, {step})");
        }
        format!("{text}{end}")
    };
    let cases = [
        chain("[[1]]", "x + x", 60, "[0].size() > 0"),
        chain("[[1]]", "x + x", 60, " == []"),
        chain("[[1]]", "x + x", 60, "[0] == [1]"),
        chain("[[1]]", "x + x", 60, "[0].sum() == 1"),
        chain("[[1]]", "x + x", 60, "[0].reverse() == [1]"),
        chain("['a']", "x + x", 60, "[0] == 'a'"),
        chain("[dyn(1)]", "dyn([x, x])", 60, ".all(x, x == [x])"),
        chain("[dyn(1)]", "dyn([x, x])", 60, ".all(x, x == dyn(self.list) || x == x)"),
        chain("[dyn(1)]", "dyn([x, x])", 60, ".map(x, '%s'.format([x]))"),
        chain("[dyn(1)]", "dyn([x, x])", 60, ""),
        chain("['aaaaaaaaaaaaaaaa']", "x.replace('a', x)", 20, "[0] == 'a'"),
        "lists.range(1000000000000).size() == 1".to_owned(),
        "'%.1000000000f'.format([1.0]) == 'a'".to_owned(),
        "'%1000000000e'.format([1.0]) == 'a'".to_owned(),
        "self.list.map(x, lists.range(90000)).distinct() == []".to_owned(),
        "lists.range(80000).map(x, lists.range(80000)) == []".to_owned(),
        "'a'.matches('(((a{1,100}){1,100}){1,100})')".to_owned(),
    ];
    for case in cases {
        let started = Instant::now();
        let outcome = run(&fixture, &case);
        assert!(started.elapsed() < Duration::from_secs(20), "{case}: {outcome:?}");
    }
    let doubled = "[[1]]".to_owned() + &".map(x, {x: x})".repeat(200);
    assert!(refusal(&fixture.environment, &doubled).contains("type is too large"));
}

/// Lists and maps that a loop gathers are not copied in each turn.
#[test]
fn gathering_takes_linear_time() {
    let fixture = Fixture::new();
    let started = Instant::now();
    for case in [
        "lists.range(60000).map(x, x).size() == 60000",
        "lists.range(60000).filter(x, true).size() == 60000",
        "lists.range(60000).transformMap(i, x, i >= 0, x).size() == 60000",
    ] {
        assert!(matches!(run(&fixture, case), Ok(Ok(()))), "{case}");
    }
    assert!(started.elapsed() < Duration::from_secs(20));
}
