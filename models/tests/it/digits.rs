//! The digits model on the images that its training did not see.

use crate::backend;
use depx_models::{Backend, ElementType, Model, Tensor};
use std::sync::Arc;

const MODEL: &[u8] = include_bytes!("../../zoo/digits/digits.onnx");
const IMAGES: &[u8] = include_bytes!("../../zoo/digits/heldout.images");
const LABELS: &str = include_str!("../../zoo/digits/heldout.labels");

fn tensor(image: &[u8; 64]) -> Tensor {
    let data = image.iter().flat_map(|&pixel| (f32::from(pixel) / 16.0).to_le_bytes()).collect();
    Tensor::new(ElementType::F32, vec![1, 1, 8, 8], data).unwrap()
}

fn logits(model: &Arc<dyn Model>, image: &[u8; 64]) -> Vec<u8> {
    let outputs = model.run(&[tensor(image)]).unwrap();
    assert_eq!((outputs.len(), outputs[0].shape()), (1, &[1, 10][..]));
    outputs[0].data().to_vec()
}

fn label(logits: &[u8]) -> usize {
    let logits = logits.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    logits.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0
}

#[test]
fn the_held_out_images_are_what_the_card_says() {
    let (images, rest) = IMAGES.as_chunks::<64>();
    let labels = LABELS.lines().map(|line| line.parse::<usize>().unwrap()).collect::<Vec<_>>();
    assert_eq!((images.len(), rest.len(), labels.len()), (360, 0, 360));
    assert!(IMAGES.iter().all(|&pixel| pixel <= 16));
    assert!((0..10).all(|digit| labels.iter().filter(|&&label| label == digit).count() == 36));
}

#[test]
fn accuracy_is_what_the_card_says() {
    let Some(backend) = backend() else { return };
    let model = backend.load(MODEL).unwrap();
    let labels = LABELS.lines().map(|line| line.parse::<usize>().unwrap());
    let right =
        IMAGES.as_chunks().0.iter().zip(labels).filter(|(image, digit)| label(&logits(&model, image)) == *digit);
    assert_eq!(right.count(), 357);
}

#[test]
fn threads_get_the_same_bits() {
    let Some(backend) = backend() else { return };
    let model = backend.load(MODEL).unwrap();
    let images = &IMAGES.as_chunks().0[..40];
    let expected = images.iter().map(|image| logits(&model, image)).collect::<Vec<_>>();
    // More threads than sessions, so that some wait.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for (image, expected) in images.iter().zip(&expected) {
                    assert_eq!(&logits(&model, image), expected);
                }
            });
        }
    });
    // A model loaded afresh, from a clone of the backend.
    let again = backend.clone().load(MODEL).unwrap();
    assert_eq!(logits(&again, &images[0]), expected[0]);
}
