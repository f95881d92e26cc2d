//! Which uses of recurrent layers have reproducible kernels.

use super::proto::Attribute;
use super::shape::Call;
use crate::text::quoted;

/// Functions that a layer may name.
const ACTIVATIONS: [&[u8]; 8] =
    [b"Elu", b"HardSigmoid", b"LeakyRelu", b"Relu", b"Sigmoid", b"Softplus", b"Softsign", b"Tanh"];

/// Refuses what the kernels of these operators do not do.
pub(super) fn check(call: &Call<'_>) -> Result<(), String> {
    let of_direction = match call.node.operator {
        "LSTM" => 3,
        "GRU" => 2,
        _ => 1,
    };
    let directions = match call.text("direction", "forward")? {
        b"forward" | b"reverse" => 1,
        b"bidirectional" => 2,
        _ => return Err("its direction is unknown".to_owned()),
    };
    if call.input(1)?.shape.first().is_none_or(|dim| dim.size != directions) {
        return Err("its weights are not those of its directions".to_owned());
    }
    if call.int("input_forget", 0)? != 0 {
        return Err("its attribute 'input_forget' has no reproducible kernel; ask for class D2".to_owned());
    }
    for attribute in ["activation_alpha", "activation_beta"] {
        if call.count(attribute) != 0 {
            return Err(format!("its attribute '{attribute}' has no reproducible kernel; ask for class D2"));
        }
    }
    match call.attribute("activations") {
        None => Ok(()),
        Some(Attribute::Strings(names)) if names.count == directions * of_direction => {
            match names.kept.iter().find(|name| !ACTIVATIONS.contains(name)) {
                None => Ok(()),
                Some(name) => Err(format!(
                    "its activation {} has no reproducible kernel; ask for class D2",
                    quoted(&String::from_utf8_lossy(name))
                )),
            }
        }
        Some(_) => Err(format!("its attribute 'activations' must name {of_direction} for each direction")),
    }
}
