//! What models spell out of which we have one operator: each pattern begins at its last operator.

use super::{Fusion, Graph, Step, write_attribute, write_text};
use crate::onnx::shape::Dim;
use crate::onnx::wire::{write_float, write_int};

/// x × ½ × (1 + erf(x / √2)), or x × ½ × (1 + tanh(√(2/π) × (x + 0.044715 x³))), its factors in any order.
pub(super) fn gelu<'a>(graph: &Graph<'_, 'a>, last: usize) -> Option<Fusion<'a>> {
    let step = graph.step(last).filter(|step| step.operator == "Mul")?;
    let (mut gone, mut factors) = (Vec::new(), Vec::new());
    for &factor in &step.inputs {
        match graph.made_for_one(factor, "Mul") {
            Some((index, product)) => {
                gone.push(index);
                factors.extend(&product.inputs);
            }
            None => factors.push(factor),
        }
    }
    let sum = *factors.iter().find(|factor| graph.made_for_one(factor, "Add").is_some())?;
    let others: Vec<_> = factors.iter().copied().filter(|factor| *factor != sum).collect();
    let x = match others[..] {
        [half, x] | [x, half] if graph.is_number(half, 0.5) && !graph.is_number(x, 0.5) => x,
        _ => return None,
    };
    let (index, sum) = graph.made_for_one(sum, "Add")?;
    gone.push(index);
    let function = graph.beside(sum, 1.0)?;
    let mut further = Vec::new();
    if let Some((index, erf)) = graph.made_for_one(function, "Erf") {
        gone.push(index);
        let quotient = graph.made_for_one(erf.input(0), "Div");
        let quotient = quotient.filter(|(_, step)| graph.is_number(step.input(1), std::f32::consts::SQRT_2));
        let product = graph.made_for_one(erf.input(0), "Mul");
        let product = product.filter(|(_, step)| graph.beside(step, std::f32::consts::FRAC_1_SQRT_2).is_some());
        let (index, scaled) = quotient.or(product)?;
        gone.push(index);
        scaled.inputs.contains(&x).then_some(())?;
    } else {
        let (index, tanh) = graph.made_for_one(function, "Tanh")?;
        let (scaled_at, scaled) = graph.made_for_one(tanh.input(0), "Mul")?;
        let (sum_at, sum) = graph.made_for_one(graph.beside(scaled, 0.797_884_6)?, "Add")?;
        let (cubic_at, cubic) = graph.made_for_one(graph.other(sum, x)?, "Mul")?;
        let cube = graph.beside(cubic, 0.044_715)?;
        let is_cube = |power: &Step<'_>| power.input(0) == x && graph.is_number(power.input(1), 3.0);
        let (cube_at, _) = graph.made_for_one(cube, "Pow").filter(|(_, power)| is_cube(power))?;
        gone.extend([index, scaled_at, sum_at, cubic_at, cube_at]);
        write_text(&mut further, "approximate", "tanh");
    }
    Some(Fusion { operator: "Gelu", inputs: vec![x], further, gone })
}

/// x × sigmoid(x), and x × tanh(softplus(x)).
pub(super) fn gate<'a>(graph: &Graph<'_, 'a>, last: usize) -> Option<Fusion<'a>> {
    let step = graph.step(last).filter(|step| step.operator == "Mul")?;
    let &[a, b] = &step.inputs[..] else { return None };
    [[a, b], [b, a]].into_iter().find_map(|[x, gate]| {
        if let Some((index, _)) = graph.made_for_one(gate, "Sigmoid").filter(|(_, step)| step.input(0) == x) {
            return Some(Fusion { operator: "Silu", inputs: vec![x], further: Vec::new(), gone: vec![index] });
        }
        let (tanh_at, tanh) = graph.made_for_one(gate, "Tanh")?;
        let (index, _) = graph.made_for_one(tanh.input(0), "Softplus").filter(|(_, step)| step.input(0) == x)?;
        Some(Fusion { operator: "Mish", inputs: vec![x], further: Vec::new(), gone: vec![tanh_at, index] })
    })
}

/// (x - mean) / √(variance + epsilon) × scale + bias, or x / √(mean of squares + epsilon) × scale, of rows, spelled out.
pub(super) fn normalization<'a>(graph: &Graph<'_, 'a>, last: usize) -> Option<Fusion<'a>> {
    let step = graph.step(last)?;
    let mut gone = Vec::new();
    // What is added and multiplied last, each a row.
    let factors = |operator: &str, step: &Step<'a>| {
        let &[a, b] = &step.inputs[..] else { return None };
        let width = graph.width(step.output())?;
        let is_row = |name| graph.is_row(name, width);
        match (step.operator == operator, is_row(a), is_row(b)) {
            (true, false, true) => Some((a, b)),
            (true, true, false) => Some((b, a)),
            _ => None,
        }
    };
    let (product, bias) = match factors("Add", step) {
        Some((product, bias)) => {
            let (index, product) = graph.made_for_one(product, "Mul")?;
            gone.push(index);
            (product, Some(bias))
        }
        None => (step, None),
    };
    let (normal, scale) = factors("Mul", product)?;
    let quotient = graph.made_for_one(normal, "Div").or_else(|| graph.made_for_one(normal, "Mul"))?;
    gone.push(quotient.0);
    // The divisor, or one over it.
    let &[a, b] = &quotient.1.inputs[..] else { return None };
    let (centred, root) = match quotient.1.operator {
        "Div" => (a, b),
        _ => [[a, b], [b, a]].into_iter().find_map(|[x, inverse]| {
            let (index, step) = graph.made_for_one(inverse, "Reciprocal").or_else(|| {
                graph.made_for_one(inverse, "Div").filter(|(_, step)| graph.is_number(step.input(0), 1.0))
            })?;
            gone.push(index);
            Some((x, *step.inputs.last()?))
        })?,
    };
    let (index, root) = graph.made_for_one(root, "Sqrt")?;
    gone.push(index);
    let (index, sum) = graph.made_for_one(root.input(0), "Add")?;
    gone.push(index);
    let &[a, b] = &sum.inputs[..] else { return None };
    let (mean, epsilon) = match (graph.number(a), graph.number(b)) {
        (None, Some(epsilon)) => (a, epsilon),
        (Some(epsilon), None) => (b, epsilon),
        _ => return None,
    };
    let (index, squares) = mean_of_rows(graph, mean)?;
    gone.push(index);
    let (index, squares) = graph.made_for_one(squares, "Pow").or_else(|| {
        // A value that is multiplied by itself.
        graph.made_for_one(squares, "Mul")
    })?;
    gone.push(index);
    let is_square = match squares.operator {
        "Pow" => squares.input(0) == centred && graph.is_number(squares.input(1), 2.0),
        _ => squares.inputs[..] == [centred; 2],
    };
    is_square.then_some(())?;

    let mut further = Vec::new();
    write_attribute(&mut further, "epsilon", |attribute| {
        write_float(attribute, 2, epsilon);
        write_int(attribute, 20, 1);
    });
    let inner = gone.clone();
    let centre = graph.made(centred, "Sub").filter(|_| graph.uses(centred).iter().all(|user| inner.contains(user)));
    if let Some((index, difference)) = centre
        && let Some((mean_at, of)) = mean_of_rows(graph, difference.input(1))
        && of == difference.input(0)
    {
        // One with a bias is found when that comes.
        if bias.is_none() && graph.only_user(step.output()).is_some_and(|(_, user)| factors("Add", user).is_some()) {
            return None;
        }
        gone.extend([index, mean_at]);
        let inputs = [of, scale].into_iter().chain(bias).collect();
        return Some(Fusion { operator: "LayerNormalization", inputs, further, gone });
    }
    match bias {
        None => Some(Fusion { operator: "RMSNormalization", inputs: vec![centred, scale], further, gone }),
        Some(_) => None,
    }
}

/// What a value is the mean of, along the last axis, if it is used once.
fn mean_of_rows<'a>(graph: &Graph<'_, 'a>, name: &'a str) -> Option<(usize, &'a str)> {
    let (index, step) = graph.made_for_one(name, "ReduceMean")?;
    let rank = graph.value(step.input(0))?.shape.len() as i64;
    let known = step.inputs.get(1).and_then(|axes| graph.value(axes)?.known_ints());
    let axis = match (graph.ints(step, "axes"), known) {
        (Some(&[axis]), None) => axis,
        (None, Some(&[Some(axis)])) => axis,
        _ => return None,
    };
    let last = axis == -1 || axis == rank - 1;
    (last && graph.int(step, "keepdims", 1) == 1).then_some((index, step.input(0)))
}

/// softmax(q × k × scale + mask) × v, of which each may be transposed before, and the result after.
pub(super) fn attention<'a>(graph: &Graph<'_, 'a>, last: usize) -> Option<Fusion<'a>> {
    let step = graph.step(last)?;
    let mut gone = Vec::new();
    let (product, turned) = match step.operator {
        "MatMul" => (step, [0, 1, 2, 3]),
        "Transpose" => {
            let order = <[i64; 4]>::try_from(graph.ints(step, "perm")?).ok().filter(|order| order[3] == 3)?;
            let (index, product) = graph.made_for_one(step.input(0), "MatMul")?;
            gone.push(index);
            (product, order)
        }
        _ => return None,
    };
    // One that is transposed is found when that comes.
    if step.operator == "MatMul"
        && let Some((_, user)) = graph.only_user(step.output())
        && user.operator == "Transpose"
        && graph.ints(user, "perm").is_some_and(|order| order.len() == 4 && order[3] == 3)
    {
        return None;
    }
    let &[shares, v] = &product.inputs[..] else { return None };
    let (index, softmax) = graph.made_for_one(shares, "Softmax")?;
    let scores = softmax.input(0);
    let shape = &graph.value(scores)?.shape;
    (shape.len() == 4 && matches!(graph.int(softmax, "axis", -1), -1 | 3)).then_some(())?;
    gone.push(index);

    let scaled = |name| {
        let (operator, step) = ["Div", "Mul"].iter().find_map(|name_of| {
            let (index, step) = graph.made_for_one(name, name_of)?;
            Some((index, step))
        })?;
        let &[a, b] = &step.inputs[..] else { return None };
        match (step.operator, graph.number(a), graph.number(b)) {
            ("Div", None, Some(divisor)) => Some((operator, a, 1.0 / divisor)),
            ("Mul", None, Some(factor)) => Some((operator, a, factor)),
            ("Mul", Some(factor), None) => Some((operator, b, factor)),
            _ => None,
        }
    };
    let products = |name: &'a str, gone: &mut Vec<usize>| {
        let (name, scale) = match scaled(name) {
            Some((index, name, scale)) => {
                gone.push(index);
                (name, scale)
            }
            None => (name, 1.0),
        };
        let (index, product) = graph.made_for_one(name, "MatMul")?;
        gone.push(index);
        Some((product, scale))
    };
    let masked = graph.made_for_one(scores, "Add").and_then(|(index, sum)| {
        let &[a, b] = &sum.inputs[..] else { return None };
        [[a, b], [b, a]].into_iter().find_map(|[of, mask]| {
            let mut inner = vec![index];
            let found = products(of, &mut inner)?;
            let fits = |(dim, whole): (&Dim, &Dim)| *dim == Dim::ONE || dim == whole && !dim.open;
            let mask_shape = &graph.value(mask)?.shape;
            let fits = mask_shape.len() <= 4 && mask_shape.iter().rev().zip(shape.iter().rev()).all(fits);
            fits.then_some((found, Some(mask), inner))
        })
    });
    let ((product, scale), mask, inner) = match masked {
        Some(found) => found,
        None => {
            let mut inner = Vec::new();
            (products(scores, &mut inner)?, None, inner)
        }
    };
    gone.extend(inner);
    let &[q, k] = &product.inputs[..] else { return None };
    let is_heads = |name| graph.value(name).is_some_and(|value| value.shape.len() == 4);
    (is_heads(q) && is_heads(k) && is_heads(v)).then_some(())?;
    let [(q, of_q), (k, of_k), (v, of_v)] = [q, k, v].map(|name| graph.untransposed(name, &mut gone));
    let mut further = Vec::new();
    write_attribute(&mut further, "scale", |attribute| {
        write_float(attribute, 2, scale);
        write_int(attribute, 20, 1);
    });
    for (name, order) in [("perm_q", of_q), ("perm_k", of_k), ("perm_v", of_v), ("perm_y", turned)] {
        write_attribute(&mut further, name, |attribute| {
            order.iter().for_each(|&axis| write_int(attribute, 8, axis));
            write_int(attribute, 20, 7);
        });
    }
    let inputs = [q, k, v].into_iter().chain(mask).collect();
    Some(Fusion { operator: "ScaledDotProductAttention", inputs, further, gone })
}
