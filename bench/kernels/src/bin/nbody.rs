//! The sun and four planets for 1,500,000 steps, in 64-bit floats.

use std::f64::consts::PI;

const STEPS: usize = 1_500_000;
const STEP: f64 = 0.01;
const SOLAR_MASS: f64 = 4.0 * PI * PI;
const YEAR: f64 = 365.24;

struct Body {
    place: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

fn body(place: [f64; 3], speed: [f64; 3], mass: f64) -> Body {
    Body { place, speed: speed.map(|speed| speed * YEAR), mass: mass * SOLAR_MASS }
}

fn advance(bodies: &mut [Body]) {
    for index in 0..bodies.len() {
        let (earlier, later) = bodies.split_at_mut(index + 1);
        let one = &mut earlier[index];
        for other in later {
            let mut distance = [0.0; 3];
            for axis in 0..3 {
                distance[axis] = one.place[axis] - other.place[axis];
            }
            let square: f64 = distance.iter().map(|d| d * d).sum();
            let pull = STEP / (square * square.sqrt());
            for axis in 0..3 {
                one.speed[axis] -= distance[axis] * other.mass * pull;
                other.speed[axis] += distance[axis] * one.mass * pull;
            }
        }
    }
    for body in bodies {
        for axis in 0..3 {
            body.place[axis] += STEP * body.speed[axis];
        }
    }
}

fn main() {
    let mut bodies = [
        body([0.0; 3], [0.0; 3], 1.0),
        body([4.841, -1.160, -0.104], [1.660e-3, 7.699e-3, -6.905e-5], 9.548e-4),
        body([8.343, 4.125, -0.404], [-2.767e-3, 4.999e-3, 2.304e-5], 2.859e-4),
        body([12.894, -15.111, -0.223], [2.965e-3, 2.378e-3, -2.966e-5], 4.366e-5),
        body([15.380, -25.919, 0.179], [2.681e-3, 1.628e-3, -9.516e-5], 5.151e-5),
    ];
    for _ in 0..STEPS {
        advance(&mut bodies);
    }
    println!("{:?}", bodies.map(|body| body.place));
}
