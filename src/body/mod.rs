//! The rat's body: kinematics and registration of keypoints to joint angles.
