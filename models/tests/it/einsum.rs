//! `Einsum` in class D1 and in the library.

use crate::backend;
use crate::reproducible::{assert_close, both, numbers, tensor};
use crate::writer::{F32, I32, Message, graph, model, node, port};
use depx_models::{Backend, LoadError, Reproducible};

/// An operator on operands `a`, `b` … of these shapes and a type.
fn einsum(equation: &str, operands: &[&[i64]], output: &[i64], element_type: i64) -> Vec<u8> {
    let names = &["a", "b", "c"][..operands.len()];
    let equation = Message::default().bytes(1, "equation").bytes(4, equation).int(20, 3);
    let node = node("Einsum", names, &["y"]).message(5, equation);
    let ports = names.iter().zip(operands).map(|(name, shape)| port(name, element_type, shape)).collect::<Vec<_>>();
    model(graph(&[node], &[], &ports, &[port("y", element_type, output)])).0
}

#[test]
fn sums_of_products_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    // An equation, its operands and its result.
    type Case<'a> = (&'a str, &'a [&'a [i64]], &'a [i64]);
    let cases: [Case<'_>; 20] = [
        ("ij->ji", &[&[3, 4]], &[4, 3]),
        ("ij->i", &[&[3, 70]], &[3]),
        ("ijk->j", &[&[3, 4, 5]], &[4]),
        ("ij->", &[&[3, 4]], &[]),
        ("ij,jk->ik", &[&[3, 300], &[300, 5]], &[3, 5]),
        ("ij,jk", &[&[3, 4], &[4, 5]], &[3, 5]),
        ("ij,kj->ik", &[&[3, 4], &[5, 4]], &[3, 5]),
        ("ji,jk->ki", &[&[4, 3], &[4, 5]], &[5, 3]),
        ("i,i", &[&[7], &[7]], &[]),
        ("i,j->ij", &[&[3], &[4]], &[3, 4]),
        ("ij,ij->ij", &[&[3, 4], &[3, 4]], &[3, 4]),
        ("bhid,bhjd->bhij", &[&[2, 3, 4, 5], &[2, 3, 6, 5]], &[2, 3, 4, 6]),
        ("bhij,bjhd->bihd", &[&[2, 3, 4, 5], &[2, 5, 3, 6]], &[2, 4, 3, 6]),
        ("bind,jnd->bnij", &[&[2, 3, 4, 5], &[6, 4, 5]], &[2, 4, 3, 6]),
        ("abc,cbd->ad", &[&[2, 3, 4], &[4, 3, 5]], &[2, 5]),
        ("aib,cib->i", &[&[2, 3, 4], &[5, 3, 4]], &[3]),
        ("...ij,...jk->...ik", &[&[2, 3, 4, 5], &[1, 3, 5, 6]], &[2, 3, 4, 6]),
        ("...ij,jk->i...k", &[&[2, 3, 4, 5], &[5, 6]], &[4, 2, 3, 6]),
        ("bij,bjk->bik", &[&[1, 4, 5], &[3, 5, 6]], &[3, 4, 6]),
        ("ij,j->ij", &[&[3, 4], &[4]], &[3, 4]),
    ];
    for (equation, shapes, output) in cases {
        let operands = shapes.iter().map(|shape| {
            let sizes = shape.iter().map(|&size| size as u32).collect::<Vec<_>>();
            tensor(&sizes, &numbers(sizes.iter().product::<u32>() as usize))
        });
        let onnx = einsum(equation, shapes, output, F32);
        let (ours, theirs) = both(&library, &onnx, &operands.collect::<Vec<_>>());
        assert_close(equation, &ours, &theirs);
    }
}

#[test]
fn what_has_no_kernel_is_refused() {
    let Some(library) = backend() else { return };
    let backend = Reproducible::new(library.clone());
    let diagonal = einsum("ii->i", &[&[3, 3]], &[3], F32);
    assert!(library.load(&diagonal).is_ok());
    for (onnx, part) in [
        (diagonal, "'i' twice in one operand"),
        (einsum("i,i,i->i", &[&[3], &[3], &[3]], &[3], F32), "more than two operands"),
        (einsum("ij->ji", &[&[3, 4]], &[4, 3], I32), "integers"),
        (einsum("ij->ji", &[&[3, 4, 5]], &[4, 3], F32), "'ij' does not fit 3 dimensions"),
        (einsum("ij,jk->ik", &[&[3, 4], &[5, 6]], &[3, 6], F32), "4 and 5"),
    ] {
        match backend.load(&onnx).map(|_| ()) {
            Err(LoadError::Invalid { reason }) => assert!(reason.contains(part), "{reason}"),
            other => panic!("{part}: {other:?}"),
        }
    }
}
