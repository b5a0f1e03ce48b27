"""PDF pages, and the PDF of a recorded round."""
