"""PDF drawing with reportlab, and the PDF of a recorded round."""
