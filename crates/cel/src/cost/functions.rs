//! What calls can cost, by function.

use crate::declared::Part;
use crate::syntax::ast::Kind;
use crate::types::{Kubernetes, Type};
use crate::value::Constant;

use super::estimate::{Estimator, Node, Path, or_unknown};
use super::flat::costs_one;
use super::{CHECK, CostEstimate, NEW_LIST, NEW_STRUCT, PATTERN, Size, TRAVERSAL};

/// What a call can cost without its arguments, and the size of its result where that is known.
pub(super) struct CallEstimate {
    pub(super) cost: CostEstimate,
    pub(super) size: Option<Size>,
}

impl CallEstimate {
    pub(super) fn of(cost: CostEstimate) -> Self {
        Self { cost, size: None }
    }

    fn sized(cost: CostEstimate, size: Size) -> Self {
        Self { cost, size: Some(size) }
    }
}

/// The size of the addresses in networks, in bytes.
const ADDRESS: Size = Size { min: 4, max: 16 };
/// Characters of the longest pattern of a named format, and of the longest name of one.
const FORMAT_PATTERN: f64 = 128.0;
const FORMAT_NAME: u64 = 64;

fn literal_int(node: &Node<'_>) -> Option<i64> {
    match &node.expr.kind {
        Kind::Literal(Constant::Int(value)) => Some(*value),
        _ => None,
    }
}

/// A literal, or what stands for anything else; negative ones count as zero.
fn int_or(node: &Node<'_>, otherwise: u64) -> u64 {
    literal_int(node).map_or(otherwise, |value| u64::try_from(value).unwrap_or(0))
}

impl Estimator<'_> {
    fn size_of(&self, node: &Node<'_>) -> Size {
        node.size.or_else(|| self.declared_size(node.path.as_ref())).unwrap_or(Size::UNKNOWN)
    }

    /// The type of a list's elements and their size.
    fn element(&self, list: &Node<'_>) -> Option<(Type, Size)> {
        let of = match &list.of {
            Type::List(inner) | Type::Optional(inner) | Type::Type(inner) | Type::Map(inner, _) => {
                (**inner).clone()
            }
            _ => return None,
        };
        let path = list.path.as_ref().map(|path| Path::to(Part::Items, Some(path)));
        Some((of, self.declared_size(path.as_ref()).unwrap_or(Size::UNKNOWN)))
    }
}

/// The cost of functions of cel-go's extensions and of Kubernetes' libraries; none for the others.
pub(super) fn estimate(
    sizes: &Estimator<'_>,
    function: &str,
    overload: &str,
    target: Option<&Node<'_>>,
    args: &[Node<'_>],
) -> Option<CallEstimate> {
    if let Some(estimate) = extension(sizes, overload, target, args) {
        return Some(estimate);
    }
    let size = |node: &Node<'_>| sizes.size_of(node);
    let traversal = |node: &Node<'_>| size(node).scaled(TRAVERSAL);
    let one = || Some(CallEstimate::of(CostEstimate::ONE));
    match function {
        "check" => Some(CallEstimate::of(CostEstimate::exactly(CHECK))),
        known if costs_one(known) => one(),
        "fieldSelector" | "labelSelector" => match args {
            [selector] => Some(CallEstimate::of(selector_cost(size(selector)))),
            _ => None,
        },
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            let target = target?;
            let cost = match sizes.element(target) {
                Some((Type::String | Type::Bytes, element)) => {
                    size(target).times(CostEstimate::ONE.plus(element.scaled(TRAVERSAL)))
                }
                Some(_) => size(target),
                None => traversal(target),
            };
            Some(CallEstimate::of(cost))
        }
        "url" | "jsonpatch.escapeKey" => match args {
            [text] => Some(CallEstimate::sized(traversal(text), size(text))),
            _ => None,
        },
        "lowerAscii" | "upperAscii" | "substring" | "trim" => {
            let target = target?;
            Some(CallEstimate::sized(traversal(target), size(target)))
        }
        "replace" => {
            let (target, [old, new, ..]) = (target?, args) else { return None };
            let result = replaced_size(size(target), size(old), size(new));
            Some(CallEstimate::sized(size(target).scaled(2.0 * TRAVERSAL), result))
        }
        "split" => {
            let text = size(target?);
            #[expect(clippy::cast_sign_loss, reason = "as Kubernetes has it: no bound is the largest")]
            let most = args.get(1).and_then(literal_int).map_or(text.max, |most| most as u64);
            Some(CallEstimate::sized(text.scaled(2.0 * TRAVERSAL), Size { min: 0, max: most }))
        }
        "join" => {
            let target = target?;
            let list = size(target);
            let mut all = sizes.element(target).map_or(Size::ZERO, |(_, element)| list.times(element));
            if let Some(separator) = args.first() {
                let between = Size { min: list.min.saturating_sub(1), max: list.max.saturating_sub(1) };
                all = all.plus(size(separator).times(between));
            }
            Some(CallEstimate::sized(all.scaled(TRAVERSAL), all))
        }
        "find" | "findAll" => {
            let (text, pattern) = (size(target?), size(args.first()?));
            let cost = text.plus(Size::ONE).scaled(TRAVERSAL).times(pattern.scaled(PATTERN));
            Some(CallEstimate::sized(cost, Size { min: 0, max: text.max }))
        }
        "ip" if overload == "cidr_ip" => one(),
        "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            Some(CallEstimate::of(traversal(args.first()?)))
        }
        "ip.isCanonical" => Some(CallEstimate::of(size(args.first()?).scaled(2.0 * TRAVERSAL))),
        "containsIP" | "containsCIDR" => {
            let other = args.first()?;
            let mut cost = ADDRESS.plus(ADDRESS).scaled(TRAVERSAL);
            if function == "containsCIDR" {
                cost = cost.plus(ADDRESS.scaled(TRAVERSAL)).plus(CostEstimate::ONE);
            }
            if matches!(overload, "cidr_contains_ip_string" | "cidr_contains_cidr_string") {
                cost = cost.plus(traversal(other));
            }
            Some(CallEstimate::of(cost))
        }
        "validate" => Some(CallEstimate::of(traversal(args.first()?).scaled(FORMAT_PATTERN * PATTERN))),
        "_==_" => equality(args),
        _ => None,
    }
}

/// Kubernetes' values are compared at a fixed cost.
fn equality(args: &[Node<'_>]) -> Option<CallEstimate> {
    let [one, another] = args else { return None };
    let (Type::Kubernetes(known), Type::Kubernetes(other)) = (&one.of, &another.of) else { return None };
    if known != other {
        return None;
    }
    let most = match known {
        Kubernetes::Format => FORMAT_NAME,
        Kubernetes::Url => another.size.map_or(1, |size| size.max),
        _ => return Some(CallEstimate::of(CostEstimate::ONE)),
    };
    Some(CallEstimate::of(CostEstimate { min: 1, max: most }.scaled(TRAVERSAL)))
}

/// Parsing a selector, and a list and a structure for each requirement in it.
pub(super) fn selector_cost(length: Size) -> CostEstimate {
    #[expect(clippy::cast_precision_loss, reason = "small constants")]
    let requirement = (NEW_LIST + NEW_STRUCT) as f64;
    let requirements = length.scaled(0.5).scaled(requirement);
    CostEstimate::exactly(NEW_LIST).plus(length.scaled(TRAVERSAL)).plus(requirements)
}

/// The size of a string in which others were replaced.
fn replaced_size(text: Size, old: Size, new: Size) -> Size {
    let (mut count, mut kept) = (Size::ZERO, Size::ZERO);
    // The longest: nothing is replaced wherever it can be, or the shortest is by the longest.
    if old.min == 0 {
        count.max = text.max.saturating_add(1);
        kept.max = text.max;
    } else if new.max <= old.min {
        kept.max = text.max;
    } else {
        count.max = divided(text.max, old.min);
    }
    // The shortest: the other way round.
    if old.max == 0 {
        count.min = text.min.saturating_add(1);
        kept.min = text.min;
    } else if old.max <= new.min {
        kept.min = text.min;
    } else {
        count.min = divided(text.min, old.max);
    }
    count.times(new).plus(kept)
}

/// Divided and rounded up, as floating point numbers.
fn divided(one: u64, another: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "as it is defined")]
    super::to_u64((one as f64 / another as f64).ceil())
}

/// The cost of cel-go's functions on sets and lists.
fn extension(
    sizes: &Estimator<'_>,
    overload: &str,
    target: Option<&Node<'_>>,
    args: &[Node<'_>],
) -> Option<CallEstimate> {
    let size = |node: &Node<'_>| sizes.size_of(node);
    match (overload, target, args) {
        ("list_sets_contains_list" | "list_sets_intersects_list", _, [one, another]) => {
            Some(CallEstimate::of(size(one).times(size(another)).scaled(1.0).plus(CostEstimate::ONE)))
        }
        ("list_sets_equivalent_list", _, [one, another]) => {
            Some(CallEstimate::of(size(one).times(size(another)).scaled(2.0).plus(CostEstimate::ONE)))
        }
        ("list_slice", Some(list), [start, end]) => {
            let length = int_or(end, size(list).max).wrapping_sub(int_or(start, 0));
            Some(new_list(1.0, Size::exactly(length)))
        }
        ("lists_range", None, [count]) => Some(new_list(1.0, Size::exactly(int_or(count, u64::MAX)))),
        ("list_reverse", Some(list), []) => Some(new_list(1.0, size(list))),
        ("list_flatten" | "list_flatten_int", Some(list), args) => {
            let depth = args.first().map_or(1, |depth| int_or(depth, u64::MAX));
            #[expect(clippy::cast_precision_loss, reason = "as it is defined")]
            Some(new_list(depth as f64, size(list)))
        }
        ("list_distinct", Some(list), []) => {
            let list = size(list);
            Some(new_list(2.0, list.times(list)))
        }
        (sort, Some(list), []) if sort.ends_with("_sort") => Some(sorting(sort, size(list))),
        (sort, Some(_), [keys]) if sort.ends_with("_sortByAssociatedKeys") => Some(sorting(sort, size(keys))),
        _ => None,
    }
}

fn sorting(overload: &str, list: Size) -> CallEstimate {
    let text = overload.starts_with("list_string_") || overload.starts_with("list_bytes_");
    new_list(if text { 2.0 + TRAVERSAL } else { 2.0 }, list.times(list))
}

fn new_list(factor: f64, size: Size) -> CallEstimate {
    let cost = size.scaled(factor).plus(CostEstimate::exactly(1 + NEW_LIST));
    CallEstimate::sized(cost, size)
}

/// The cost of the language's own functions.
pub(super) fn standard(overload: &str, target: Option<&Node<'_>>, args: &[Node<'_>]) -> CallEstimate {
    let known = match (overload, target, args) {
        ("string_format", Some(format), _) => Some(CallEstimate::of(or_unknown(format).scaled(TRAVERSAL))),
        ("string_to_bytes", _, [text]) => {
            let size = or_unknown(text);
            let result = Size { min: size.min, max: size.max.wrapping_mul(4) };
            Some(CallEstimate::sized(size.scaled(TRAVERSAL), result))
        }
        ("bytes_to_string", _, [bytes]) => {
            let size = or_unknown(bytes);
            Some(CallEstimate::sized(size.scaled(TRAVERSAL), Size { min: size.min / 4, max: size.max }))
        }
        ("strings_quote", _, [text]) => {
            let size = or_unknown(text);
            let max = size.max.wrapping_mul(2).wrapping_add(2);
            Some(CallEstimate::sized(size.scaled(TRAVERSAL), Size { min: size.min.wrapping_add(2), max }))
        }
        ("starts_with_string" | "ends_with_string", _, [part]) => {
            Some(CallEstimate::of(or_unknown(part).scaled(TRAVERSAL)))
        }
        ("in_list", _, [_, list]) => Some(CallEstimate::of(or_unknown(list).scaled(1.0))),
        ("matches_string", Some(text), [pattern]) => {
            let text = or_unknown(text).plus(Size::ONE).scaled(TRAVERSAL);
            Some(CallEstimate::of(text.times(or_unknown(pattern).scaled(PATTERN))))
        }
        ("contains_string", Some(text), [part]) => Some(CallEstimate::of(
            or_unknown(text).scaled(TRAVERSAL).times(or_unknown(part).scaled(TRAVERSAL)),
        )),
        (overload, _, [one, another]) if super::runtime::compares(overload) => {
            let most = or_unknown(one).max.min(or_unknown(another).max);
            let cost = CostEstimate { min: u64::from(most > 0), max: most };
            Some(CallEstimate::of(cost.scaled(TRAVERSAL)))
        }
        _ => None,
    };
    known.unwrap_or_else(|| CallEstimate::of(CostEstimate::ONE))
}
