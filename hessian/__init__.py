"""The curvature of each adapter block: Hessian products and their extreme eigenvalues."""
