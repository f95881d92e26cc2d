//! Reads one image of a handwritten digit and says which digit it is.
//!
//! Input: 64 bytes, eight rows of eight pixels from 0 (paper) to 16 (ink). Output: the digit and a line feed.
//! The job declares the model `digits`: f32\[1, 1, 8, 8\] with pixels from 0 to 1, to f32\[1, 10\], a score for each digit.

use depx_sdk::{Model, ModelError, Tensor};
use std::fmt;

const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;
const DIGITS: usize = 10;

/// The value of a pixel that is all ink.
const INK: u8 = 16;

#[depx_sdk::task]
fn recognise(image: &[u8]) -> Result<String, Error> {
    let pixels = normalise(image)?;
    let scores = Model::load("digits")?.run(&[Tensor::f32(&[1, 1, SIDE as u32, SIDE as u32], &pixels)])?.f32(0)?;
    Ok(format!("{}\n", highest(&scores)?))
}

/// Pixels from 0 to 1.
fn normalise(image: &[u8]) -> Result<[f32; PIXELS], Error> {
    let image: &[u8; PIXELS] = image.try_into().map_err(|_| Error::Length(image.len()))?;
    match image.iter().position(|&pixel| pixel > INK) {
        None => Ok(image.map(|pixel| f32::from(pixel) / f32::from(INK))),
        Some(position) => Err(Error::Pixel { position, value: image[position] }),
    }
}

/// The digit of the highest score, the smallest if several have it.
fn highest(scores: &[f32]) -> Result<usize, Error> {
    if scores.len() != DIGITS || scores.iter().any(|score| !score.is_finite()) {
        return Err(Error::Scores);
    }
    Ok((1..DIGITS).fold(0, |best, digit| if scores[digit] > scores[best] { digit } else { best }))
}

/// Why there is no answer.
#[derive(Debug, PartialEq)]
enum Error {
    Length(usize),
    Pixel { position: usize, value: u8 },
    Scores,
    Model(ModelError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "an image has {PIXELS} bytes, one for each pixel, not {length}"),
            Self::Pixel { position, value } => write!(f, "pixel {position} is {value}; pixels go from 0 to {INK}"),
            Self::Scores => write!(f, "the model did not give {DIGITS} finite scores; is it the digits model?"),
            Self::Model(error) => error.fmt(f),
        }
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_scaled_to_one() {
        let mut image = [0; PIXELS];
        (image[1], image[63]) = (8, INK);
        let pixels = normalise(&image).unwrap();
        assert_eq!((pixels[0], pixels[1], pixels[63]), (0.0, 0.5, 1.0));
    }

    #[test]
    fn what_is_not_an_image_is_refused() {
        assert_eq!(normalise(&[0; PIXELS - 1]), Err(Error::Length(63)));
        assert_eq!(normalise(&[0; PIXELS + 1]), Err(Error::Length(65)));
        assert_eq!(normalise(&[]), Err(Error::Length(0)));
        let mut image = [0; PIXELS];
        image[5] = INK + 1;
        assert_eq!(normalise(&image), Err(Error::Pixel { position: 5, value: 17 }));
    }

    #[test]
    fn the_highest_score_wins() {
        let mut scores = [-1.0; DIGITS];
        assert_eq!(highest(&scores), Ok(0));
        scores[7] = 3.0;
        scores[9] = 3.0;
        assert_eq!(highest(&scores), Ok(7));
        scores[2] = f32::NAN;
        assert_eq!(highest(&scores), Err(Error::Scores));
        assert_eq!(highest(&[1.0; 9]), Err(Error::Scores));
    }

    #[test]
    fn without_a_node_the_error_says_so() {
        assert_eq!(recognise(&[0; PIXELS]), Err(Error::Model(ModelError::OutsideNode)));
    }
}
