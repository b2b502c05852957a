//! A test on every stack: what holds for one has to hold for all.

pub(crate) use steadfast_tests::stacks::{HyperSmol, HyperTokio, Reqwest};

/// A test for each of these functions on each stack, in modules named after the stacks. The functions are generic over the
/// stack, and beside where this stands.
macro_rules! on_every_stack {
    ($($case:ident)*) => {
        crate::stack::on_every_stack!(reqwest, Reqwest: $($case)*);
        crate::stack::on_every_stack!(hyper_tokio, HyperTokio: $($case)*);
        crate::stack::on_every_stack!(hyper_smol, HyperSmol: $($case)*);
    };
    ($module:ident, $stack:ident: $($case:ident)*) => {
        mod $module {
            use steadfast_tests::conformance::transport::Stack;

            use crate::stack::$stack;

            $(#[test]
            fn $case() {
                $stack::run(super::$case::<$stack>());
            })*
        }
    };
}

pub(crate) use on_every_stack;
